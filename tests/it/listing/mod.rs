//! Lists: every page in either direction, filters, cursors.

mod cursors;
mod filters;
mod growth;
mod large;
mod paging;

use audit_logs::{
    client::AuditLogs,
    proto::v1::{ListEventsRequest, ListMetadata, SortOrder},
};

/// Which page is asked for.
#[derive(Debug, Clone, Default)]
struct Ask {
    limit: i32,
    order: i32,
    before: String,
    after: String,
}

/// What a page has: what stands for its items, and its cursors.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Page<T> {
    items: Vec<T>,
    before: String,
    after: String,
}

impl<T> Page<T> {
    fn new(items: impl IntoIterator<Item = T>, cursors: Option<ListMetadata>) -> Self {
        let ListMetadata { before, after } = cursors.unwrap();
        let page = Self { items: items.into_iter().collect(), before, after };
        assert!(!page.items.is_empty() || (page.before.is_empty() && page.after.is_empty()));
        page
    }
}

/// Walks through a whole list from its start to its end and back.
async fn walk<T: Clone + std::fmt::Debug>(
    limit: i32,
    order: SortOrder,
    read: impl AsyncFn(Ask) -> Page<T>,
) -> (Vec<Page<T>>, Vec<Page<T>>) {
    let ask = Ask { limit, order: order.into(), ..Ask::default() };
    let mut forth = vec![read(ask.clone()).await];
    while let Some(after) = forth.last().map(|page| page.after.clone()).filter(|c| !c.is_empty()) {
        forth.push(read(Ask { after, ..ask.clone() }).await);
        assert!(forth.len() < 1_000, "the list does not end");
    }
    let mut back = vec![forth.last().unwrap().clone()];
    while let Some(before) = back.last().map(|page| page.before.clone()).filter(|c| !c.is_empty()) {
        back.push(read(Ask { before, ..ask.clone() }).await);
        assert!(back.len() < 1_000, "the list does not begin");
    }
    back.reverse();
    (forth, back)
}

/// Fails unless `read` lists exactly `expected` (oldest first) in both orders, with pages of many
/// sizes, forth and back.
async fn lists_all<T: Clone + PartialEq + std::fmt::Debug>(
    expected: &[T],
    read: impl AsyncFn(Ask) -> Page<T>,
) {
    let reversed: Vec<_> = expected.iter().rev().cloned().collect();
    // No order is the newest first.
    let unspecified = read(Ask { limit: 100, ..Ask::default() }).await;
    assert_eq!(unspecified.items, reversed);
    let orders = [(SortOrder::Asc, expected), (SortOrder::Desc, &reversed)];
    let all = i32::try_from(expected.len()).unwrap();
    for (order, expected) in orders {
        for limit in [1, 3, all - 1, all, all + 1, 0] {
            let what = format!("{order:?}, {limit} at a time");
            let (forth, back) = walk(limit, order, &read).await;
            for pages in [&forth, &back] {
                let items: Vec<_> = pages.iter().flat_map(|page| page.items.clone()).collect();
                assert_eq!(items, expected, "{what}");
                assert_eq!(pages.first().unwrap().before, "", "{what}");
                assert_eq!(pages.last().unwrap().after, "", "{what}");
            }
            // Every page but the last one is full, counted from where the walk began.
            let size = usize::try_from(if limit == 0 { 10 } else { limit }).unwrap();
            assert!(forth.iter().rev().skip(1).all(|page| page.items.len() == size), "{what}");
            let inner = &back[..back.len() - 1];
            assert!(inner.iter().skip(1).all(|page| page.items.len() == size), "{what}");
            follows_each_page(&read, limit, order, inner, expected).await;
        }
    }
}

/// From each page that was found on the way back, the next page follows.
async fn follows_each_page<T: PartialEq + std::fmt::Debug>(
    read: &impl AsyncFn(Ask) -> Page<T>,
    limit: i32,
    order: SortOrder,
    pages: &[Page<T>],
    expected: &[T],
) {
    let mut seen = 0;
    for page in pages {
        seen += page.items.len();
        let ask = Ask { limit, order: order.into(), after: page.after.clone(), ..Ask::default() };
        let next = read(ask).await.items;
        assert_eq!(next, expected[seen..seen + next.len()]);
        assert!(!next.is_empty());
    }
}

/// A page of events, by their sequences.
async fn page_of_events(client: &AuditLogs, request: ListEventsRequest) -> Page<u64> {
    let answer = client.clone().list_events(request).await.unwrap().into_inner();
    let sequences: Vec<_> = answer.events.iter().map(|record| record.sequence).collect();
    Page::new(sequences, answer.list_metadata)
}

/// The request for a page of acme's events.
fn events_of_acme(ask: Ask) -> ListEventsRequest {
    let Ask { limit, order, before, after } = ask;
    let organization_id = "acme".to_owned();
    ListEventsRequest { organization_id, limit, order, before, after, ..Default::default() }
}
