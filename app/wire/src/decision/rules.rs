//! The rules that a decision asks, each in one place.

use super::{Actor, Broken, Candidate, Facts, Link, Parent, Request, Rule};
use crate::{
    ids::Address,
    proto::{
        consent::{ConsentMode, ReviewOutcome},
        identity::SuspensionReason,
        state::{Emergency, EmergencyReviews, Grant, Guardianship, Organization, Practitioner},
    },
    terms::{Opened, Terms},
};

/// Codes of v3 Confidentiality that close nothing.
pub const OPEN_LABELS: [&str; 4] = ["U", "L", "M", "N"];

/// The first rule of a grant, then of the grant that it was delegated from, that does not hold.
/// Without `facts` those that hold or not whatever the record is; then `None` says that the grant
/// may open some.
pub fn broken_by_grant(candidate: &Candidate, request: &Request, facts: Option<&Facts>) -> Option<Broken> {
    let actor = match actor_rules(&request.actor, request.now) {
        Ok(actor) => actor,
        Err(rule) => return Some(own(rule)),
    };
    let Some(grant) = &candidate.state else { return Some(own(Rule::GrantExists)) };
    let names_grantee = grant.grantee == actor.organization.as_bytes();
    let terms = opened(candidate.opened.as_ref(), grant);
    let terms_name_grantee = terms.filter(|terms| terms.organization.as_bytes().as_slice() == grant.grantee);
    let is_for = |terms: &Terms| terms.practitioner.is_none_or(|only| only == actor.practitioner);
    let has_role = |terms: &Terms| terms.roles.is_empty() || terms.roles.contains(&actor.enrolment.role());
    let rules = [
        (Rule::Mode, opens(grant, request.mode)),
        (Rule::Grantee, names_grantee),
        (Rule::TermsOpened, terms_name_grantee.is_some()),
        (Rule::Actor, terms_name_grantee.is_some_and(is_for)),
        (Rule::Role, terms_name_grantee.is_some_and(has_role)),
        (Rule::Purpose, terms_name_grantee.is_some_and(|terms| terms.purposes.contains(&request.purpose))),
    ];
    let of_grant = out_of_force(grant, request.now).or_else(|| first(&rules));
    let of_record = || facts.and_then(|facts| record_rules(grant, terms, facts));
    let of_parent = || parent_rules(grant, candidate.parent.as_ref(), request, facts);
    of_grant.or_else(of_record).map(own).or_else(of_parent)
}

/// The first rule of an emergency that does not hold. No record changes it.
pub fn broken_by_emergency(
    emergency: Option<&Emergency>,
    reviews: &EmergencyReviews,
    request: &Request,
) -> Option<Broken> {
    emergency_rules(emergency, reviews, request).map(own)
}

/// Why a grant opens nothing at this time, whatever is asked.
pub fn out_of_force(grant: &Grant, now: i64) -> Option<Rule> {
    first(&[
        (Rule::NotRevoked, grant.revoked_at == 0),
        (Rule::Begun, now >= grant.not_before),
        (Rule::NotEnded, now < grant.expires_at),
    ])
}

/// Why a guardianship gives no power at this time.
pub fn out_of_power(guardianship: Option<&Guardianship>, now: i64) -> Option<Rule> {
    let until = guardianship.map_or(0, |guardianship| guardianship.until);
    first(&[(Rule::GuardianshipExists, until != 0), (Rule::GuardianshipNotEnded, now < until)])
}

/// Whether an organization left an emergency without review past its deadline. The list is in the
/// order of the deadlines, so the first one tells.
pub fn has_overdue_review(reviews: &EmergencyReviews, now: i64) -> bool {
    reviews.open.first().is_some_and(|review| review.review_by <= now)
}

struct Known<'a> {
    organization: &'a Address,
    standing: &'a Organization,
    practitioner: Address,
    enrolment: &'a Practitioner,
}

/// Who asks, where organization and practitioner are in good standing.
fn actor_rules(actor: &Actor, now: i64) -> Result<Known<'_>, Rule> {
    let Actor::Practitioner { organization, standing, practitioner, enrolment } = actor else {
        return Err(Rule::OrganizationInGoodStanding);
    };
    let standing = standing.as_ref().filter(|standing| is_in_good_standing(standing, now));
    let standing = standing.ok_or(Rule::OrganizationInGoodStanding)?;
    let enrolment = enrolment.as_ref().filter(|enrolment| enrolment.suspended_at == 0 && now < enrolment.expires_at);
    let enrolment = enrolment.ok_or(Rule::PractitionerEnrolled)?;
    Ok(Known { organization, standing, practitioner: *practitioner, enrolment })
}

/// Whether an organization is neither suspended nor expired.
pub fn is_in_good_standing(organization: &Organization, now: i64) -> bool {
    organization.suspended == SuspensionReason::Unspecified as i32 && now < organization.expires_at
}

/// What a delegated grant needs of the grant that it came from: everything but the actor, which the
/// delegate's own terms name.
fn parent_rules(grant: &Grant, parent: Option<&Parent>, request: &Request, facts: Option<&Facts>) -> Option<Broken> {
    if grant.parent.is_empty() {
        return None;
    }
    let of_parent = |rule| Some(Broken { link: Link::Parent, rule });
    let parent = parent.filter(|parent| parent.grant.as_bytes().as_slice() == grant.parent);
    let Some((parent, given)) = parent.and_then(|parent| Some((parent, parent.state.as_ref()?))) else {
        return of_parent(Rule::GrantExists);
    };
    let standing = parent.standing.as_ref();
    let terms = opened(parent.opened.as_ref(), given);
    let rules = [
        (Rule::Mode, opens(given, request.mode)),
        (Rule::TermsOpened, terms.is_some()),
        (Rule::Purpose, terms.is_some_and(|terms| terms.purposes.contains(&request.purpose))),
        // One step only: what was delegated itself goes no further.
        (Rule::Delegable, given.delegable && given.parent.is_empty()),
        (Rule::DelegatorInGoodStanding, standing.is_some_and(|standing| is_in_good_standing(standing, request.now))),
    ];
    let broken = out_of_force(given, request.now).or_else(|| first(&rules));
    broken.or_else(|| facts.and_then(|facts| record_rules(given, terms, facts))).and_then(of_parent)
}

fn record_rules(grant: &Grant, terms: Option<&Terms>, facts: &Facts) -> Option<Rule> {
    let holds = |rule: fn(&Terms, &Facts) -> bool| terms.is_some_and(|terms| rule(terms, facts));
    first(&[
        (Rule::ResourceType, holds(|terms, facts| terms.resource_types.contains(&facts.resource_type))),
        (Rule::DataPeriod, holds(is_within_data_period)),
        (Rule::Labels, holds(opens_labels)),
        (Rule::GuardianSeesNoLabel, !grant.by_guardian || !is_labelled(facts)),
    ])
}

/// An emergency opens every type, period and label: whoever is unconscious cannot be asked.
fn emergency_rules(emergency: Option<&Emergency>, reviews: &EmergencyReviews, request: &Request) -> Option<Rule> {
    let actor = match actor_rules(&request.actor, request.now) {
        Ok(actor) => actor,
        Err(rule) => return Some(rule),
    };
    let Some(emergency) = emergency else { return Some(Rule::EmergencyExists) };
    first(&[
        (Rule::EmergencyAccredited, actor.standing.emergency),
        (Rule::ReviewsInTime, !has_overdue_review(reviews, request.now)),
        (Rule::NotUnjustified, emergency.outcome != ReviewOutcome::NotJustified as i32),
        (Rule::Begun, request.now >= emergency.opened_at),
        (Rule::NotEnded, request.now < emergency.expires_at),
        (Rule::Mode, request.mode == ConsentMode::View),
        (Rule::Grantee, emergency.organization == actor.organization.as_bytes()),
        (Rule::Actor, emergency.practitioner == actor.practitioner.as_bytes()),
    ])
}

pub(super) fn guardian_rules(guardianship: Option<&Guardianship>, request: &Request, facts: &Facts) -> Option<Rule> {
    let rules = [(Rule::Mode, request.mode == ConsentMode::View), (Rule::GuardianSeesNoLabel, !is_labelled(facts))];
    out_of_power(guardianship, request.now).or_else(|| first(&rules))
}

fn opens(grant: &Grant, mode: ConsentMode) -> bool {
    mode != ConsentMode::Unspecified && grant.mode == i32::from(mode)
}

/// The terms, where they are those that the ledger's commitment is of.
fn opened<'a>(opened: Option<&'a Opened>, grant: &Grant) -> Option<&'a Terms> {
    let opened = opened?;
    let is_committed = opened.terms.commitment(&opened.salt).as_bytes().as_slice() == grant.terms;
    is_committed.then_some(&opened.terms)
}

/// A record is within the period when all that it is about is. One that does not say is outside.
fn is_within_data_period(terms: &Terms, facts: &Facts) -> bool {
    let Some(period) = terms.data_period else { return true };
    facts.about.is_some_and(|about| period.start <= about.start && about.end <= period.end)
}

fn opens_labels(terms: &Terms, facts: &Facts) -> bool {
    let is_open = |label: &String| OPEN_LABELS.contains(&label.as_str()) || terms.labels.contains(label);
    facts.labels.iter().all(is_open)
}

fn is_labelled(facts: &Facts) -> bool {
    facts.labels.iter().any(|label| !OPEN_LABELS.contains(&label.as_str()))
}

fn first(rules: &[(Rule, bool)]) -> Option<Rule> {
    rules.iter().find(|(_, holds)| !holds).map(|(rule, _)| *rule)
}

pub(super) fn own(rule: Rule) -> Broken {
    Broken { link: Link::Own, rule }
}
