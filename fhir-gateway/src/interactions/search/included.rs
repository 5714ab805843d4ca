//! `_include` and `_revinclude`: what stands beside the matches of a page, as far as the caller may
//! see it. docs/api/search.md

use std::collections::BTreeSet;

use fhir_sdk::r4b::codes::{IssueSeverity, IssueType};

use crate::{
    auth::scopes::Interaction,
    index::{include::Beside, sight::Sight},
    interactions::{Context, bundle::Size, reach},
    outcome::{Issue, Refusal, operation_outcome},
    records::Stored,
    search::Include,
};

/// Most resources beside the matches of one page.
pub const INCLUDED_MAX: usize = 1_000;

/// What stands beside the matches.
#[derive(Default)]
pub struct Included {
    /// The resources, in the order in which they became known.
    pub found: Vec<Stored>,
    /// Says that there are more.
    pub cut: Option<serde_json::Value>,
}

/// What `includes` add to the resources with `numbers`.
pub async fn included(
    context: &Context<'_>,
    includes: &[Include],
    sight: &Sight,
    numbers: Vec<i64>,
    size: &mut Size,
) -> Result<Included, Refusal> {
    if includes.is_empty() || numbers.is_empty() {
        return Ok(Included::default());
    }
    let mut known: BTreeSet<i64> = numbers.iter().copied().collect();
    let (mut frontier, mut beside, mut is_first) = (numbers, Vec::new(), true);
    while !frontier.is_empty() && beside.len() <= INCLUDED_MAX {
        let mut next = Vec::new();
        for include in includes.iter().filter(|include| is_first || include.iterates) {
            let (include, sight, from) = (*include, sight.clone(), frontier.clone());
            let index = &context.organization.index;
            // What is known already may be among them.
            let limit = INCLUDED_MAX + 1 + known.len();
            let found = index.run(move |index| index.beside(&from, &include, Some(&sight), limit)).await?;
            next.extend(found.into_iter().filter(|found| known.insert(found.number)));
            // What goes on from here is bounded by what a query can name.
            if beside.len() + next.len() > INCLUDED_MAX {
                break;
            }
        }
        frontier = next.iter().map(|found| found.number).collect();
        beside.extend(next);
        is_first = false;
    }
    let cut = (beside.len() > INCLUDED_MAX).then(|| {
        let diagnostics = format!("more than {INCLUDED_MAX} resources stand beside the matches; ask for smaller pages");
        operation_outcome([Issue::new(IssueSeverity::Warning, IssueType::Incomplete, diagnostics)])
    });
    beside.truncate(INCLUDED_MAX);
    Ok(Included { found: read(context, &beside, size).await?, cut })
}

/// The resources themselves, as they are now, where the caller may see them.
pub async fn read(context: &Context<'_>, beside: &[Beside], size: &mut Size) -> Result<Vec<Stored>, Refusal> {
    let mut found = Vec::with_capacity(beside.len());
    for Beside { resource_type, id, .. } in beside {
        match context.organization.records.read(resource_type, id).await {
            Ok(stored) => {
                size.add(stored.content.bytes().len())?;
                found.push(stored);
            }
            // Deleted since the index was asked.
            Err(Refusal::NotFound | Refusal::Gone) => {}
            Err(other) => return Err(other),
        }
    }
    // The index may be behind a version that moved to another patient, or says something else.
    reach::visible(context, Interaction::Search, found).await
}
