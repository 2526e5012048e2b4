//! Reading one page of a list by keyset: no OFFSET, so every page costs the same.

use futures::TryStreamExt;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, Value};

use super::{Result, pool::Pool};
use crate::domain::{
    limits::PAGE_BYTES,
    page::{Cursor, Order, Page, PageRequest},
};

/// Reads the wanted page of `query`, which `key` orders. A page ends early when its rows, of which
/// `bytes` tells the size, have more than [`PAGE_BYTES`]; it keeps at least one. Rows are read one by
/// one, so that memory is bounded by the same number.
pub(super) async fn read_page<E, K>(
    connection: &Pool,
    query: Select<E>,
    key: E::Column,
    request: &PageRequest<K>,
    bytes: impl Fn(&E::Model) -> usize,
) -> Result<Page<E::Model>>
where
    E: EntityTrait,
    K: Clone + Into<Value>,
{
    let limit = request.limit as usize;
    let query = from_cursor(query, key, request).limit(u64::from(request.limit) + 1);
    let mut rows = query.stream(connection).await?;
    let (mut read, mut sum, mut more) = (Vec::new(), 0, false);
    while let Some(row) = rows.try_next().await? {
        sum += bytes(&row);
        if read.len() == limit || (sum > PAGE_BYTES && !read.is_empty()) {
            more = true;
            break;
        }
        read.push(row);
    }
    Ok(request.page(read, more))
}

/// Orders `query` by `key` and starts it at the cursor.
fn from_cursor<E, K>(query: Select<E>, key: E::Column, request: &PageRequest<K>) -> Select<E>
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
