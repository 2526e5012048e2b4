//! The envelope of lists.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::page::Page;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the members in JSON")]
pub struct List<T> {
    /// Always `list`.
    #[schema(example = "list")]
    object: &'static str,
    /// The items.
    data: Vec<T>,
    /// Where the neighbouring pages are.
    list_metadata: ListMetadata,
}

/// Cursors to the neighbouring pages; null where the list ends.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListMetadata {
    /// For the page before this one.
    #[schema(required = true)]
    before: Option<String>,
    /// For the page after this one.
    #[schema(required = true)]
    after: Option<String>,
}

impl<T> List<T> {
    /// The page, with each item converted, and the cursor of an item.
    pub fn new<U>(
        page: Page<U>,
        cursor: impl Fn(&U) -> String,
        convert: impl FnMut(U) -> T,
    ) -> Self {
        let (before, after) = page.cursors(cursor);
        let data = page.items.into_iter().map(convert).collect();
        Self { object: "list", data, list_metadata: ListMetadata { before, after } }
    }
}
