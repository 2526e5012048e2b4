//! Organizations as callers send them, and the limits that they must keep (WorkOS API description,
//! organizations).

use rand::Rng;
use serde_json::{Map, Value};

use super::{
    ids::OrganizationDomainId,
    limits,
    organization::{DomainState, Organization, OrganizationDomain, OrganizationMetadata},
    page::{PageDraft, PageRequest},
    timestamp::Timestamp,
    violation::{Reason, Violation, Violations, longer_than},
};

/// An organization as sent.
#[derive(Debug, Clone, Default)]
pub struct OrganizationDraft {
    /// Id; empty for one that the service makes.
    pub id: String,
    /// Display name.
    pub name: String,
    /// The caller's own name for it; `None` or empty for none.
    pub external_id: Option<String>,
    /// Texts by key; a null or an empty text stands for no key.
    pub metadata: Map<String, Value>,
    /// Its domains.
    pub domains: Vec<DomainDraft>,
}

/// A domain as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainDraft {
    /// The name, in any case.
    pub domain: String,
    /// Whether the organization owns it; `None` if what was sent is no state.
    pub verified: Option<bool>,
}

/// What is to be changed of an organization, as sent. The default changes nothing.
#[derive(Debug, Clone, Default)]
pub struct OrganizationChanges {
    /// Another display name.
    pub name: Option<String>,
    /// The external id.
    pub external_id: Change<String>,
    /// Keys of the metadata.
    pub metadata: MetadataChanges,
    /// All domains, in place of those that are there. One that stays keeps its id.
    pub domains: Option<Vec<DomainDraft>>,
}

/// What is to become of a value that may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays.
    #[default]
    Keep,
    /// It is removed.
    Clear,
    /// It is set. An empty text removes it.
    Set(T),
}

/// What is to become of metadata.
#[derive(Debug, Clone, Default)]
pub struct MetadataChanges {
    /// Whether all keys that are there are removed first.
    pub clear: bool,
    /// Keys to set; a null or an empty text removes the key. Keys that are not named stay.
    pub entries: Map<String, Value>,
}

/// Which organizations are wanted, as sent.
#[derive(Debug, Clone, Default)]
pub struct OrganizationQuery {
    /// Which page of the list.
    pub page: PageDraft,
    /// With any of these domains, in any case; empty for all organizations.
    pub domains: Vec<String>,
    /// With this in the name (ASCII letters in either case), or as id or external id; empty for all.
    pub search: String,
}

/// Selects organizations; both parts must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrganizationFilter {
    /// Any of these domains, in lower case; empty for all organizations.
    pub domains: Vec<String>,
    /// Part of the name, or the whole id or external id; empty for all.
    pub search: String,
}

/// Details that keep the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationDetails {
    /// Display name.
    pub name: String,
    /// The caller's own name for it.
    pub external_id: Option<String>,
    /// Texts by key.
    pub metadata: OrganizationMetadata,
    /// Names in lower case, each once.
    domains: Vec<(String, DomainState)>,
}

impl OrganizationDetails {
    /// Domains of a new organization.
    pub fn new_domains(&self, now: Timestamp, random: &mut impl Rng) -> Vec<OrganizationDomain> {
        with_ids(&self.domains, &[], now, random)
    }
}

impl OrganizationDraft {
    /// Notes what is wrong with everything but the id; what it returns counts only if nothing was
    /// noted.
    pub fn check(self, violations: &mut Violations) -> OrganizationDetails {
        violations.required_text("name", &self.name, limits::SHORT_TEXT_CHARS);
        let external_id = self.external_id.filter(|id| !id.is_empty());
        check_external_id(external_id.as_deref(), violations);
        let entries = check_entries(self.metadata, violations);
        let metadata = entries.into_iter().filter_map(|(key, text)| Some((key, text?))).collect();
        let domains = check_domains(self.domains, violations);
        OrganizationDetails { name: self.name, external_id, metadata, domains }
    }
}

/// Changes that keep the limits by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedChanges {
    name: Option<String>,
    external_id: Change<String>,
    clear_metadata: bool,
    metadata: Vec<(String, Option<String>)>,
    domains: Option<Vec<(String, DomainState)>>,
}

impl OrganizationChanges {
    /// Notes what is wrong; what it returns counts only if nothing was noted.
    pub fn check(self, violations: &mut Violations) -> CheckedChanges {
        if let Some(name) = &self.name {
            violations.required_text("name", name, limits::SHORT_TEXT_CHARS);
        }
        let external_id = match self.external_id {
            Change::Set(id) if id.is_empty() => Change::Clear,
            other => other,
        };
        if let Change::Set(id) = &external_id {
            check_external_id(Some(id), violations);
        }
        CheckedChanges {
            name: self.name,
            external_id,
            clear_metadata: self.metadata.clear,
            metadata: check_entries(self.metadata.entries, violations),
            domains: self.domains.map(|domains| check_domains(domains, violations)),
        }
    }
}

impl CheckedChanges {
    /// The external id that is to be set.
    pub fn external_id(&self) -> Option<&str> {
        match &self.external_id {
            Change::Set(id) => Some(id),
            Change::Keep | Change::Clear => None,
        }
    }

    /// The organization with the changes, unless its metadata would have too many keys.
    pub fn apply(
        self,
        to: Organization,
        now: Timestamp,
        random: &mut impl Rng,
    ) -> Result<Organization, Vec<Violation>> {
        let mut changed = to;
        changed.updated_at = now;
        if let Some(name) = self.name {
            changed.name = name;
        }
        match self.external_id {
            Change::Keep => {}
            Change::Clear => changed.external_id = None,
            Change::Set(id) => changed.external_id = Some(id),
        }
        if self.clear_metadata {
            changed.metadata.clear();
        }
        for (key, text) in self.metadata {
            match text {
                Some(text) => changed.metadata.insert(key, text),
                None => changed.metadata.remove(&key),
            };
        }
        if let Some(domains) = self.domains {
            changed.domains = with_ids(&domains, &changed.domains, now, random);
        }
        let mut violations = Violations::default();
        check_number_of_keys(changed.metadata.len(), &mut violations);
        violations.into_result(changed)
    }
}

impl OrganizationQuery {
    /// Checks everything at once.
    pub fn validate(self) -> Result<(OrganizationFilter, PageRequest), Vec<Violation>> {
        let mut violations = Violations::default();
        if self.domains.len() > limits::FILTER_VALUES {
            let description = format!("domains must have at most {} values", limits::FILTER_VALUES);
            violations.add("domains", Reason::TooMany, description);
        } else {
            for (index, domain) in self.domains.iter().enumerate() {
                let field = format_args!("domains[{index}]");
                violations.required_text(field, domain, limits::DOMAIN_CHARS);
            }
        }
        violations.optional_text("search", &self.search, limits::SHORT_TEXT_CHARS);
        let page = self.page.check(&mut violations);
        let domains = self.domains.iter().map(|domain| domain.to_ascii_lowercase()).collect();
        violations.into_result((OrganizationFilter { domains, search: self.search }, page))
    }
}

/// Checks the external id of a request that must name one.
pub fn check_required_external_id(id: &str) -> Result<(), Vec<Violation>> {
    let mut violations = Violations::default();
    violations.required_text("external_id", id, limits::EXTERNAL_ID_CHARS);
    violations.into_result(())
}

fn check_external_id(id: Option<&str>, violations: &mut Violations) {
    violations.optional_text("external_id", id.unwrap_or_default(), limits::EXTERNAL_ID_CHARS);
}

fn check_number_of_keys(keys: usize, violations: &mut Violations) {
    if keys > limits::METADATA_KEYS {
        let description = format!("metadata must have at most {} keys", limits::METADATA_KEYS);
        violations.add("metadata", Reason::TooMany, description);
    }
}

/// Checks keys and their texts; a key that is to be removed has none.
fn check_entries(
    entries: Map<String, Value>,
    violations: &mut Violations,
) -> Vec<(String, Option<String>)> {
    // No change needs more: as many keys can be removed as set.
    if entries.len() > 2 * limits::METADATA_KEYS {
        check_number_of_keys(entries.len(), violations);
        return Vec::new();
    }
    let set = entries.values().filter(|value| !is_empty(value)).count();
    check_number_of_keys(set, violations);
    let checked = entries.into_iter().map(|(key, value)| {
        check_key(&key, violations);
        let text = check_text(&key, value, violations);
        (key, text)
    });
    checked.collect()
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(str::is_empty)
}

fn check_key(key: &str, violations: &mut Violations) {
    if longer_than(key, limits::METADATA_KEY_CHARS) {
        let most = limits::METADATA_KEY_CHARS;
        let start: String = key.chars().take(most).collect();
        let description = format!("a key must have at most {most} characters");
        violations.add(format!("metadata.{start}"), Reason::TooLong, description);
    } else if key.is_empty() || key.contains(char::is_control) {
        let description = "a key must have a character, and no control characters";
        violations.add(format!("metadata.{key}"), Reason::InvalidCharacters, description);
    }
}

fn check_text(key: &str, value: Value, violations: &mut Violations) -> Option<String> {
    let (reason, wrong) = match value {
        Value::Null => return None,
        Value::String(text) => {
            let most = limits::ORGANIZATION_METADATA_VALUE_CHARS;
            if !longer_than(&text, most) {
                return Some(text).filter(|text| !text.is_empty());
            }
            (Reason::TooLong, format!("must have at most {most} characters"))
        }
        Value::Bool(_) => (Reason::InvalidType, "must be a string, not a boolean".to_owned()),
        Value::Number(_) => (Reason::InvalidType, "must be a string, not a number".to_owned()),
        Value::Array(_) => (Reason::InvalidType, "must be a string, not a list".to_owned()),
        Value::Object(_) => (Reason::InvalidType, "must be a string, not an object".to_owned()),
    };
    violations.add(format!("metadata.{key}"), reason, format!("metadata.{key} {wrong}"));
    None
}

fn check_domains(
    drafts: Vec<DomainDraft>,
    violations: &mut Violations,
) -> Vec<(String, DomainState)> {
    if drafts.len() > limits::ORGANIZATION_DOMAINS {
        let most = limits::ORGANIZATION_DOMAINS;
        let description = format!("domains must have at most {most} entries");
        violations.add("domains", Reason::TooMany, description);
        return Vec::new();
    }
    let mut checked: Vec<(String, DomainState)> = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.into_iter().enumerate() {
        let domain = draft.domain.to_ascii_lowercase();
        let path = format!("domains[{index}].domain");
        violations.required_text(&path, &domain, limits::DOMAIN_CHARS);
        if checked.iter().any(|(other, _)| *other == domain) {
            violations.add(path, Reason::Duplicate, "each domain must be there once");
        } else if !domain.is_empty()
            && domain.len() <= limits::DOMAIN_CHARS
            && !is_domain_name(&domain)
        {
            let description = format!("{path} must be a domain name such as example.com");
            violations.add(path, Reason::InvalidCharacters, description);
        }
        let state = match draft.verified {
            Some(true) => DomainState::Verified,
            Some(false) => DomainState::Pending,
            None => {
                let path = format!("domains[{index}].state");
                let description = format!("{path} must be pending or verified");
                violations.add(path, Reason::Unknown, description);
                DomainState::Pending
            }
        };
        checked.push((domain, state));
    }
    checked
}

/// Whether `text`, in lower case, is a host name of two labels or more (RFC 1123, section 2.1); other
/// scripts in their ASCII form (RFC 5890). An IP address is none: its last label is a number.
fn is_domain_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    text.split('.').all(is_label) && text.rsplit_once('.').is_some_and(|(_, last)| !is_number(last))
}

/// The domains with their ids; one that is there already keeps its own.
fn with_ids(
    domains: &[(String, DomainState)],
    known: &[OrganizationDomain],
    now: Timestamp,
    random: &mut impl Rng,
) -> Vec<OrganizationDomain> {
    let with_id = |(domain, state): &(String, DomainState)| {
        let same = known.iter().find(|known| known.domain == *domain);
        let id = match same {
            Some(known) => known.id.clone(),
            None => OrganizationDomainId::generate(now, random),
        };
        OrganizationDomain { id, domain: domain.clone(), state: *state }
    };
    domains.iter().map(with_id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_names() {
        for good in ["example.com", "a.b", "x-1.example.co.uk", "xn--bcher-kva.example", "1.2.c3"] {
            assert!(is_domain_name(good), "{good}");
        }
        let long = format!("{}.com", "a".repeat(64));
        for bad in [
            "", ".", "com", "a..b", ".a.b", "a.b.", "-a.b", "a-.b", "a_b.c", "10.0.0.1", "ä.b",
            &long,
        ] {
            assert!(!is_domain_name(bad), "{bad}");
        }
    }
}
