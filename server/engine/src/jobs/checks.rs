//! What a request about jobs may hold: each refusal names the field and what would be right.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use neptune_store::JobSpec;
use neptune_store::control::spec_size_bytes;
use neptune_wire::job::{ClaimJob, CreateJob, PatchJob};
use neptune_wire::name::NAME_BYTES;
use neptune_wire::{ParamValue, Tag};

use super::REASON_BYTES;
use crate::Refused;

const DESCRIPTION_BYTES: usize = 16 << 10;
const PROPERTY_BYTES: usize = 16 << 10;
/// Properties of one job, and all their keys and texts together; with its other records they fit one commit.
const PROPERTIES: usize = 500;
const PROPERTIES_BYTES: usize = 256 << 10;
const TAGS: usize = 256;
/// Params, command and environment together; with the rest of a job they fit one commit.
const SPEC_BYTES: usize = 512 << 10;

/// Checks a job about to be created.
pub(crate) fn create(create: &CreateJob) -> Result<(), Refused> {
    text_bytes("name", Some(&create.name), NAME_BYTES)?;
    text_bytes("description", Some(&create.description), DESCRIPTION_BYTES)?;
    let mut names = HashSet::new();
    for (at, param) in create.params.iter().enumerate() {
        if !names.insert(&param.name) {
            let wanted = format!("{:?} is there twice; a name may be given once", param.name.as_str());
            return Err(Refused::field(format!("params[{at}].name"), wanted));
        }
        let differs =
            |default: &ParamValue| std::mem::discriminant(default) != std::mem::discriminant(&param.value);
        if param.default.as_ref().is_some_and(differs) {
            let field = format!("params[{at}].default");
            return Err(Refused::field(field, "must be of the same type as the value"));
        }
    }
    for (name, text) in &create.properties {
        property(name, Some(text))?;
    }
    properties(&create.properties)
}

/// Checks the part of a job that never changes.
pub(crate) fn spec(spec: &JobSpec) -> Result<(), Refused> {
    if spec_size_bytes(spec) > SPEC_BYTES {
        let what = "size of params, command and environment in bytes";
        return Err(Refused::TooLarge { what, limit: SPEC_BYTES as u64 });
    }
    Ok(())
}

/// Checks a change.
pub(super) fn patch(patch: &PatchJob) -> Result<(), Refused> {
    text_bytes("name", patch.name.as_deref(), NAME_BYTES)?;
    text_bytes("description", patch.description.as_deref(), DESCRIPTION_BYTES)?;
    let texts = patch.properties.iter().map(|(name, text)| (name, text.as_deref().unwrap_or_default()));
    properties_fit(texts)?;
    patch.properties.iter().try_for_each(|(name, text)| property(name, text.as_deref()))
}

/// Checks a claim.
pub(super) fn claim(claim: &ClaimJob) -> Result<(), Refused> {
    text_bytes("host", claim.host.as_deref(), NAME_BYTES)?;
    let reason = claim.history.as_ref().and_then(|history| history.exit.reason.as_deref());
    text_bytes("history.exit.reason", reason, REASON_BYTES)
}

/// Checks the length of a text.
pub(crate) fn text_bytes(field: &str, text: Option<&str>, limit: usize) -> Result<(), Refused> {
    match text {
        Some(text) if text.len() > limit => {
            Err(Refused::field(field, format!("must be at most {limit} bytes of text")))
        }
        _ => Ok(()),
    }
}

fn property(name: &str, text: Option<&str>) -> Result<(), Refused> {
    let shown: String = name.chars().take(80).collect();
    if name.is_empty() || name.len() > NAME_BYTES {
        let wanted = format!("{shown:?} must be 1 to {NAME_BYTES} bytes of text as a key");
        return Err(Refused::field("properties", wanted));
    }
    text_bytes(&format!("properties.{shown}"), text, PROPERTY_BYTES)
}

/// Checks all properties that a job would have.
pub(super) fn properties(properties: &BTreeMap<String, String>) -> Result<(), Refused> {
    properties_fit(properties.iter().map(|(name, text)| (name, text.as_str())))
}

fn properties_fit<'a>(properties: impl Iterator<Item = (&'a String, &'a str)>) -> Result<(), Refused> {
    let (mut count, mut bytes) = (0, 0);
    for (name, text) in properties {
        (count, bytes) = (count + 1, bytes + name.len() + text.len());
    }
    if count > PROPERTIES {
        return Err(Refused::TooLarge { what: "number of properties", limit: PROPERTIES as u64 });
    }
    if bytes > PROPERTIES_BYTES {
        let what = "size of all properties in bytes";
        return Err(Refused::TooLarge { what, limit: PROPERTIES_BYTES as u64 });
    }
    Ok(())
}

/// The tags a job ends up with: sorted, each once.
pub(crate) fn tags(base: Vec<Tag>, added: Vec<Tag>, removed: &[Tag]) -> Result<Vec<Tag>, Refused> {
    let mut tags: BTreeSet<Tag> = base.into_iter().chain(added).collect();
    for tag in removed {
        tags.remove(tag);
    }
    if tags.len() > TAGS {
        return Err(Refused::TooLarge { what: "number of tags", limit: TAGS as u64 });
    }
    Ok(tags.into_iter().collect())
}
