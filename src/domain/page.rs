//! Paging through lists: a limit, an order, and a cursor in one of two directions.

use sha2::{Digest, Sha256};

use super::{
    ids::OrganizationId,
    limits,
    violation::{Reason, Violation, Violations},
};

/// The order of a list, by creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    #[default]
    Descending,
}

impl Order {
    /// The other order.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

/// A cursor that no list can have made stands as this: it is found nowhere, and can be looked up and
/// told safely.
const NO_CURSOR: &str = "(malformed)";

fn possible_cursor(sent: String) -> String {
    let possible = sent.len() <= limits::SHORT_TEXT_CHARS && !sent.contains(char::is_control);
    if possible { sent } else { NO_CURSOR.to_owned() }
}

/// From where a page is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor<C> {
    /// From the start of the list.
    Start,
    /// The page that follows.
    After(C),
    /// The page that precedes.
    Before(C),
}

/// Which page of a list is wanted. `C` is the cursor: text as sent, or the sort key it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<C = String> {
    /// Most items; 1 to [`limits::PAGE`].
    pub limit: u32,
    /// Order of the list.
    pub order: Order,
    /// From where.
    pub cursor: Cursor<C>,
}

/// Which page of a list is wanted, as sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageDraft {
    /// Most items; 0 for the default.
    pub limit: i32,
    /// Order of the list; `None` if what was sent is no order.
    pub order: Option<Order>,
    /// Cursor of the page that follows the wanted one; empty for none.
    pub before: String,
    /// Cursor of the page that precedes the wanted one; empty for none.
    pub after: String,
}

impl PageDraft {
    /// Checks what a caller asked for.
    pub fn validate(self) -> Result<PageRequest, Vec<Violation>> {
        let mut violations = Violations::default();
        let page = self.check(&mut violations);
        violations.into_result(page)
    }

    /// The same, as a part of a larger request; what it returns counts only if nothing was noted.
    pub fn check(self, violations: &mut Violations) -> PageRequest {
        let Self { limit, order, before, after } = self;
        let limit = match u32::try_from(limit) {
            Ok(0) => limits::PAGE_DEFAULT,
            Ok(limit) if limit <= limits::PAGE => limit,
            _ => {
                let description = format!("limit must be between 1 and {}", limits::PAGE);
                violations.add("limit", Reason::OutOfRange, description);
                limits::PAGE_DEFAULT
            }
        };
        if order.is_none() {
            let description = "order must be ascending (asc) or descending (desc)";
            violations.add("order", Reason::Unknown, description);
        }
        if !before.is_empty() && !after.is_empty() {
            let description = "before and after must not be used together";
            violations.add("before", Reason::Conflict, description);
        }
        let (before, after) = (possible_cursor(before), possible_cursor(after));
        let cursor = match (before.is_empty(), after.is_empty()) {
            (true, true) => Cursor::Start,
            (true, false) => Cursor::After(after),
            (false, _) => Cursor::Before(before),
        };
        PageRequest { limit, order: order.unwrap_or_default(), cursor }
    }
}

impl PageRequest {
    /// The text of the cursor, if there is one.
    pub fn cursor_text(&self) -> Option<&str> {
        self.cursor_key().map(String::as_str)
    }
}

impl<C> PageRequest<C> {
    /// The cursor, if there is one.
    pub const fn cursor_key(&self) -> Option<&C> {
        match &self.cursor {
            Cursor::Start => None,
            Cursor::After(key) | Cursor::Before(key) => Some(key),
        }
    }

    /// The same page with another form of its cursor.
    pub fn map_cursor<D, E>(
        self,
        map: impl FnOnce(C) -> Result<D, E>,
    ) -> Result<PageRequest<D>, E> {
        let cursor = match self.cursor {
            Cursor::Start => Cursor::Start,
            Cursor::After(cursor) => Cursor::After(map(cursor)?),
            Cursor::Before(cursor) => Cursor::Before(map(cursor)?),
        };
        Ok(PageRequest { limit: self.limit, order: self.order, cursor })
    }

    /// The order in which to read: a page that precedes a cursor is read backwards from it.
    pub fn reading_order(&self) -> Order {
        match self.cursor {
            Cursor::Before(_) => self.order.reversed(),
            _ => self.order,
        }
    }

    /// Makes a page of what was read in reading order, at most one item more than the limit.
    pub fn page<T>(&self, mut read: Vec<T>, more: bool) -> Page<T> {
        let more = more || read.len() > self.limit as usize;
        read.truncate(self.limit as usize);
        let empty = read.is_empty();
        let (has_before, has_after) = match self.cursor {
            Cursor::Start => (false, more),
            Cursor::After(_) => (!empty, more),
            Cursor::Before(_) => (more, !empty),
        };
        if matches!(self.cursor, Cursor::Before(_)) {
            read.reverse();
        }
        Page { items: read, has_before, has_after }
    }
}

impl<C> PageRequest<C> {
    /// Ends a page early when its items have more than [`limits::PAGE_BYTES`]; keeps at least one.
    pub fn bounded<T>(&self, mut page: Page<T>, bytes: impl Fn(&T) -> usize) -> Page<T> {
        let backwards = matches!(self.cursor, Cursor::Before(_));
        if backwards {
            page.items.reverse();
        }
        let mut sum: usize = 0;
        let fit = page.items.iter().take_while(|item| {
            sum = sum.saturating_add(bytes(item));
            sum <= limits::PAGE_BYTES
        });
        let fit = fit.count().max(1);
        if fit < page.items.len() {
            page.items.truncate(fit);
            // The rest is farther from the cursor.
            *(if backwards { &mut page.has_before } else { &mut page.has_after }) = true;
        }
        if backwards {
            page.items.reverse();
        }
        page
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// Whether items precede the first one.
    pub has_before: bool,
    /// Whether items follow the last one.
    pub has_after: bool,
}

impl<T> Page<T> {
    /// The same page of other items.
    pub fn try_map<U, E>(self, map: impl FnMut(T) -> Result<U, E>) -> Result<Page<U>, E> {
        let items = self.items.into_iter().map(map).collect::<Result<_, E>>()?;
        Ok(Page { items, has_before: self.has_before, has_after: self.has_after })
    }

    /// The cursors to the neighbouring pages, given the cursor of an item.
    pub fn cursors(&self, cursor: impl Fn(&T) -> String) -> (Option<String>, Option<String>) {
        let before = self.items.first().filter(|_| self.has_before).map(&cursor);
        let after = self.items.last().filter(|_| self.has_after).map(&cursor);
        (before, after)
    }
}

/// Prefix of the cursors of event lists.
const EVENT_CURSOR: &str = "evc_";

/// The cursor of an event: its sequence, bound to its organization by a checksum, so that it stays
/// good when the event is deleted and is refused elsewhere.
pub fn event_cursor(organization: &OrganizationId, sequence: u64) -> String {
    let check = cursor_check(organization, sequence);
    format!("{EVENT_CURSOR}{sequence:x}_{}", hex::encode(check))
}

/// The sequence in an event cursor, if it is one of this organization.
pub fn parse_event_cursor(organization: &OrganizationId, cursor: &str) -> Option<u64> {
    let (sequence, _) = cursor.strip_prefix(EVENT_CURSOR)?.split_once('_')?;
    let sequence = u64::from_str_radix(sequence, 16).ok()?;
    (event_cursor(organization, sequence) == cursor).then_some(sequence)
}

fn cursor_check(organization: &OrganizationId, sequence: u64) -> [u8; 4] {
    let mut hash = Sha256::new();
    hash.update(sequence.to_be_bytes());
    hash.update(organization.as_str());
    let digest = hash.finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_held() {
        let draft = || PageDraft { order: Some(Order::default()), ..PageDraft::default() };
        let page = |limit| PageDraft { limit, ..draft() }.validate();
        assert_eq!(page(0).unwrap().limit, 10);
        assert_eq!(page(100).unwrap().limit, 100);
        for bad in [-1, 101, i32::MAX, i32::MIN] {
            assert_eq!(page(bad).unwrap_err()[0].field, "limit");
        }
        let both = PageDraft { before: "a".into(), after: "b".into(), ..draft() };
        assert_eq!(both.validate().unwrap_err()[0].reason, Reason::Conflict);
        let odd = PageDraft { after: "\0".into(), ..draft() }.validate().unwrap();
        assert_eq!(odd.cursor, Cursor::After(NO_CURSOR.to_owned()));
    }

    #[test]
    fn a_page_ends_before_it_is_too_large() {
        let third = limits::PAGE_BYTES / 3;
        for (cursor, expected) in [
            (Cursor::After(0), Page { items: vec![1, 2, 3], has_before: true, has_after: true }),
            (Cursor::Before(9), Page { items: vec![2, 3, 4], has_before: true, has_after: true }),
        ] {
            let request = PageRequest { limit: 9, order: Order::Ascending, cursor };
            let items = vec![1, 2, 3, 4];
            let page = Page { items, has_before: true, has_after: true };
            assert_eq!(request.bounded(page.clone(), |_| third), expected);
            assert_eq!(request.bounded(page, |_| usize::MAX).items.len(), 1);
        }
    }

    #[test]
    fn an_empty_page_has_no_cursors() {
        let after = PageRequest { limit: 2, order: Order::Ascending, cursor: Cursor::After(9) };
        let page = after.page(Vec::<i32>::new(), false);
        assert_eq!((page.has_before, page.has_after), (false, false));
    }

    #[test]
    fn a_preceding_page_is_turned_round() {
        let before = PageRequest { limit: 2, order: Order::Ascending, cursor: Cursor::Before(9) };
        let page = before.page(vec![8, 7, 6], false);
        assert_eq!(page, Page { items: vec![7, 8], has_before: true, has_after: true });
    }

    proptest! {
        #[test]
        fn event_cursors_are_bound_to_their_log(sequence: u64, text in "\\PC*") {
            let (a, b) = (OrganizationId::from_stored("a"), OrganizationId::from_stored("b"));
            let cursor = event_cursor(&a, sequence);
            prop_assert_eq!(parse_event_cursor(&a, &cursor), Some(sequence));
            prop_assert_eq!(parse_event_cursor(&b, &cursor), None);
            let _ = parse_event_cursor(&a, &text);
        }
    }
}
