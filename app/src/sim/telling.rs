//! Scripts in words, as a failure prints them.

use std::fmt;

use super::script::{Actor, Event, Key, Script, Signing};

impl fmt::Display for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "  the state's format at genesis is {}", self.first_format)?;
        if self.has_quotas {
            writeln!(formatter, "  each account has a quota")?;
        }
        for event in &self.events {
            writeln!(formatter, "  {event}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registrar(number) => write!(formatter, "registrar-{number}"),
            Self::Organization(number) => write!(formatter, "organization-{number}"),
            Self::Patient(number) => write!(formatter, "patient-{number}"),
            Self::Practitioner(number) => write!(formatter, "practitioner-{number}"),
            Self::Guardian(number) => write!(formatter, "guardian-{number}"),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(actor) => write!(formatter, "{actor}"),
            Self::Spare(number) => write!(formatter, "key-{number}"),
        }
    }
}

impl fmt::Display for Signing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.actor)?;
        if self.key != Key::Of(self.actor) {
            write!(formatter, " with {}", self.key)?;
        }
        match (self.sponsor, self.is_sponsored) {
            (None, _) => Ok(()),
            (Some(sponsor), true) => write!(formatter, " at the cost of {sponsor}"),
            (Some(sponsor), false) => write!(formatter, " at the cost of {sponsor}, who did not sign,"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { signing, requests, delivery } => {
                write!(formatter, "{signing} sends {requests:?}, {delivery:?}")
            }
            Self::Replay { back } => write!(formatter, "the transaction {back} before the last comes again"),
            Self::Abandon { proposer, lookers } => {
                write!(formatter, "replica {proposer} proposes, replicas {lookers:04b} look, nothing is decided")
            }
            Self::Byzantine { order, rubbish } => {
                write!(formatter, "a proposer offers everything in order {order}, and of rubbish {rubbish:?}")
            }
            Self::Decide { proposer, lookers, seconds, crash } => {
                write!(
                    formatter,
                    "{seconds} s later the block of replica {proposer} is decided, {lookers:04b} looked"
                )?;
                match crash {
                    Some((replica, crash)) => write!(formatter, ", replica {replica} crashes: {crash:?}"),
                    None => Ok(()),
                }
            }
            Self::Wait { blocks } => write!(formatter, "{blocks} blocks without transactions are decided"),
            Self::Join { giver, place, altered } => {
                let how = if *altered { " after an altered chunk" } else { "" };
                write!(formatter, "replica {place} is new and joins from a snapshot of {giver}{how}")
            }
        }
    }
}
