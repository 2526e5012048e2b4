//! Reading one page of a list by keyset: no OFFSET, so every page costs the same.

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, Value,
};

use super::Result;
use crate::domain::page::{Cursor, Order, Page, PageRequest};

/// Reads the wanted page of `query`, which `key` orders.
pub(super) async fn read_page<E, K>(
    connection: &impl ConnectionTrait,
    query: Select<E>,
    key: E::Column,
    request: &PageRequest<K>,
) -> Result<Page<E::Model>>
where
    E: EntityTrait,
    K: Clone + Into<Value>,
{
    let limit = u64::from(request.limit) + 1;
    let rows = from_cursor(query, key, request).limit(limit).all(connection).await?;
    Ok(request.page(rows, false))
}

/// Orders `query` by `key` and starts it at the cursor.
pub(super) fn from_cursor<E, K>(
    query: Select<E>,
    key: E::Column,
    request: &PageRequest<K>,
) -> Select<E>
where
    E: EntityTrait,
    K: Clone + Into<Value>,
{
    let order = request.reading_order();
    let query = match (&request.cursor, order) {
        (Cursor::Start, _) => query,
        (Cursor::After(at) | Cursor::Before(at), Order::Ascending) => {
            query.filter(key.gt(at.clone()))
        }
        (Cursor::After(at) | Cursor::Before(at), Order::Descending) => {
            query.filter(key.lt(at.clone()))
        }
    };
    match order {
        Order::Ascending => query.order_by_asc(key),
        Order::Descending => query.order_by_desc(key),
    }
}
