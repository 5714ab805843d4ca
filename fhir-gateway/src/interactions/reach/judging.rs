//! How it is decided what of several resources is reached: what no search parameter decides at once, all else together.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, Judged};
use crate::{
    auth::{
        reach::{Part, Reach},
        scopes::{Interaction, constraint::Constraint},
    },
    index::Unlisted,
    json::Document,
    outcome::Refusal,
    resources::{Resource, resource},
    search::{Criterion, Query, Subject, Wanted},
};

/// Whether each of `judged` is reached for each of `interactions`. However many there are, and however many search
/// parameters decide, they are compared in one database in memory, and with each distinct constraint once.
///
/// # Errors
/// Faults of this server.
pub async fn judge_for(
    context: &Context<'_>,
    interactions: &[Interaction],
    judged: &[Judged<'_>],
) -> Result<Vec<bool>, Refusal> {
    let mut is_reached = vec![true; judged.len()];
    let mut questions: Vec<Question<'_>> = Vec::new();
    // Which of `judged` is reached by an answer to any of which questions.
    let mut open: Vec<(usize, Vec<usize>)> = Vec::new();
    for interaction in interactions {
        let mut ways: BTreeMap<&str, Option<Vec<Way>>> = BTreeMap::new();
        for (at, judged) in judged.iter().enumerate() {
            let resource_type = judged.resource_type;
            let by_type = ways.entry(resource_type);
            let by_type = by_type.or_insert_with(|| {
                to(context.caller.reach(*interaction, resource_type), resource_type, &mut questions)
            });
            let Some(ways) = by_type else { continue };
            let mut ways = ways.iter().filter(|way| judged.is_own || !way.is_of_own).peekable();
            match (ways.peek().is_some(), ways.map(|way| way.question).collect::<Option<Vec<usize>>>()) {
                (false, _) => is_reached[at] = false,
                // One of them demands nothing.
                (true, None) => {}
                (true, Some(any)) => {
                    any.iter().for_each(|question| {
                        questions[*question].asked.insert(at);
                    });
                    open.push((at, any));
                }
            }
        }
    }
    let answers = answers(context, &questions, judged).await?;
    for (at, any) in open {
        is_reached[at] &= any.iter().any(|question| answers[*question].contains(&at));
    }
    Ok(is_reached)
}

/// A part of what is reached of a type.
struct Way {
    /// Whether it is the caller's patient's.
    is_of_own: bool,
    /// What a resource must meet besides, if anything.
    question: Option<usize>,
}

/// Search parameters, and who is asked whether they are met, as places in what is judged.
struct Question<'a> {
    kind: &'static Resource,
    constraint: &'a Constraint,
    asked: BTreeSet<usize>,
}

/// The ways to a type; none where all of it is reached. What they demand is added to `questions`, each once.
fn to<'a>(reach: Reach<'a>, resource_type: &str, questions: &mut Vec<Question<'a>>) -> Option<Vec<Way>> {
    let Reach::Parts(parts) = reach else { return None };
    let mut way = |part: Part<'a>| {
        let is_of_own = part.patient.is_some();
        let Some(constraint) = part.constraint else { return Some(Way { is_of_own, question: None }) };
        // Nothing is there of a type that is not kept.
        let kind = resource(resource_type)?;
        let is_it = |question: &Question<'_>| question.kind.name == kind.name && question.constraint == constraint;
        let known = questions.iter().position(is_it);
        let question = known.unwrap_or_else(|| {
            questions.push(Question { kind, constraint, asked: BTreeSet::new() });
            questions.len() - 1
        });
        Some(Way { is_of_own, question: Some(question) })
    };
    Some(parts.into_iter().filter_map(&mut way).collect())
}

/// Who of those that are asked meets what, by question.
async fn answers(
    context: &Context<'_>,
    questions: &[Question<'_>],
    judged: &[Judged<'_>],
) -> Result<Vec<BTreeSet<usize>>, Refusal> {
    let (mut met, mut queries, mut compared) = (Vec::with_capacity(questions.len()), Vec::new(), BTreeSet::new());
    for Question { kind, constraint, asked } in questions {
        // Several versions of one resource may be judged, so that each is compared under a name of its own.
        let (ids, criteria): (Vec<Criterion>, Vec<Criterion>) = constraint
            .criteria(kind, &context.organization.base_url)
            .into_iter()
            .partition(|criterion| matches!(criterion.subject, Subject::Id));
        let has_id = |at: &usize| ids.iter().all(|ids| ids.wanted.contains(&Wanted::Id(judged[*at].id.to_owned())));
        let may: BTreeSet<usize> =
            asked.iter().copied().filter(|at| judged[*at].json.is_some()).filter(has_id).collect();
        if !criteria.is_empty() && !may.is_empty() {
            compared.extend(may.iter().copied());
            queries.push((met.len(), Query { criteria, ..Query::all(kind) }));
        }
        met.push(may);
    }
    if queries.is_empty() {
        return Ok(met);
    }
    let named = |at: usize| Some((resource(judged[at].resource_type)?.name, at.to_string(), judged[at].json?.to_vec()));
    let named: Vec<(&'static str, String, Vec<u8>)> = compared.into_iter().filter_map(named).collect();
    let (places, queries): (Vec<usize>, Vec<Query>) = queries.into_iter().unzip();
    let index = &context.organization.index;
    let found = index.run(move |index| index.matching(&unlisted(named)?, &queries)).await?;
    for (place, found) in places.into_iter().zip(found) {
        met[place].retain(|at| found.contains(&at.to_string()));
    }
    Ok(met)
}

fn unlisted(named: Vec<(&'static str, String, Vec<u8>)>) -> Result<Vec<Unlisted>, Refusal> {
    let unlisted = |(resource_type, name, json)| Ok(Unlisted { resource_type, name, document: Document::parse(json)? });
    named.into_iter().map(unlisted).collect()
}
