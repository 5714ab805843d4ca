//! `:in` and `:not-in` of codes: what the members of a value set are compared with (FHIR R4, 3.1.1.4.10).

use std::collections::BTreeSet;

use super::{Criterion, Modifier, Subject, Wanted, criterion::Reader, value};
use crate::{
    outcome::Refusal,
    resources::parameters::Parameter,
    value_sets::{LISTED_BYTES_MAX, NAME_BYTES_MAX, Named, SETS_MAX, unknown},
};

/// Is in any of the value sets.
pub const IN: &str = "in";
/// Is in none of them, or is not there.
pub const NOT_IN: &str = "not-in";

/// Types of the elements that hold codes of code systems.
const CODED: [&str; 3] = ["Coding", "CodeableConcept", "code"];
/// Types of the elements that are tokens and no codes, with systems of their own.
const IDENTIFYING: [&str; 2] = ["Identifier", "ContactPoint"];

/// The value sets that pairs name, each once. Nothing is done for more than may be named.
///
/// # Errors
/// [`Refusal::TooCostly`], and [`Refusal::BadRequest`] for a name that is too long.
pub fn named_sets(pairs: &[(String, String)], base_url: &str) -> Result<Vec<Named>, Refusal> {
    let too_much = || Refusal::TooCostly {
        place: None,
        problem: format!(
            ":in and :not-in name more than {SETS_MAX} value sets, or in more than {LISTED_BYTES_MAX} bytes; search for \
             fewer at once"
        ),
    };
    let is_asked = |name: &str| matches!(name.rsplit_once(':'), Some((_, IN | NOT_IN)));
    let texts = || pairs.iter().filter(|(name, _)| is_asked(name)).map(|(_, text)| text);
    if texts().map(String::len).sum::<usize>() > LISTED_BYTES_MAX {
        return Err(too_much());
    }
    let names: Vec<String> = texts().flat_map(|text| value::split(text, ',')).collect();
    let names: Vec<String> = names.iter().map(|text| value::unescaped(text)).collect();
    if names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
        let problem = format!(":in and :not-in name a value set by at most {NAME_BYTES_MAX} bytes");
        return Err(Refusal::BadRequest(problem));
    }
    // In the order in which they stand there.
    let mut known = BTreeSet::new();
    let names: Vec<Named> = names.iter().filter_map(|name| Named::read(name, base_url)).collect();
    let names: Vec<Named> = names.into_iter().filter(|name| known.insert(name.clone())).collect();
    if names.len() > SETS_MAX { Err(too_much()) } else { Ok(names) }
}

/// Reads a criterion: any of the sets, or none of them.
///
/// # Errors
/// [`Refusal::BadRequest`] where the parameter holds no codes, or value sets may not be named; those of
/// [`Sets::members`](crate::value_sets::Sets::members).
pub fn read(
    parameter: &'static Parameter,
    modifier: &str,
    texts: &[String],
    reader: &Reader<'_>,
) -> Result<Criterion, Refusal> {
    let code = parameter.code;
    let Some(sets) = reader.sets else {
        let problem = ":in and :not-in are not possible here, where a value set could change and with it what was meant; \
                       name the codes, with commas between them";
        return Err(reader.refuse(Refusal::BadRequest(problem.to_owned())));
    };
    let has = |leaves: &[&str]| parameter.paths.iter().any(|path| leaves.contains(&path.leaf));
    if !has(&CODED) || has(&IDENTIFYING) {
        let problem = format!("{code} holds no codes of code systems, so that nothing of it is in a value set");
        return Err(Refusal::BadRequest(problem));
    }
    let mut wanted = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        let name = Named::read(&value::unescaped(text), reader.base_url);
        let members = name.map_or_else(|| Err(unknown()), |name| sets.members(&name));
        let members = members.map_err(|refusal| reader.refuse(of_place(refusal, parameter, at, texts.len())))?;
        // What has its system by its binding does not say which system that is.
        if members.has_a_whole_system() && has(&["code"]) {
            let problem = format!(
                "{code} has codes without their system, so that a value set with all codes of a system says nothing \
                 of them; name the codes, with commas between them"
            );
            return Err(reader.refuse(Refusal::BadRequest(problem)));
        }
        let wanted_here = Wanted::Members(members);
        reader.take(wanted_here.weight())?;
        wanted.push(wanted_here);
    }
    let modifier = if modifier == IN { Modifier::None } else { Modifier::Not };
    Ok(Criterion { subject: Subject::Parameter(parameter), modifier, wanted, links: Vec::new() })
}

/// The same refusal, which says of which value set it is where several are named.
fn of_place(refusal: Refusal, parameter: &Parameter, at: usize, of: usize) -> Refusal {
    let which = format!("(value set {} of {of} of {})", at + 1, parameter.code);
    match refusal {
        Refusal::NotListed { place, problem } if of > 1 => {
            Refusal::NotListed { place, problem: format!("{problem} {which}") }
        }
        Refusal::TooCostly { place: place @ Some(_), problem } if of > 1 => {
            Refusal::TooCostly { place, problem: format!("{problem} {which}") }
        }
        other => other,
    }
}
