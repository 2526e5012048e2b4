//! The filter of `ListEvents` and `CreateExport`.

/// The first value of a filter list.
pub fn first(values: &mut Vec<String>) -> &mut String {
    if values.is_empty() {
        values.push(String::new());
    }
    &mut values[0]
}

/// The rows for the time range and the lists of values; `$reason` is that of a bound that is no time.
macro_rules! filter_rows {
    ($request:ty, $reason:literal) => {{
        let list = |name: &str| invalid(name, "TOO_MANY");
        let time = |name: &str| $crate::refusals::Expected {
            reason: $reason,
            ..invalid(name, "OUT_OF_RANGE")
        };
        let rows: [$crate::refusals::Row<$request>; _] = [
            ("101 actions", |r| r.actions = vec!["a".into(); 101], list("actions")),
            ("101 actor ids", |r| r.actor_ids = vec!["a".into(); 101], list("actor_ids")),
            ("101 actor names", |r| r.actor_names = vec!["a".into(); 101], list("actor_names")),
            ("101 target types", |r| r.target_types = vec!["a".into(); 101], list("target_types")),
            ("101 target ids", |r| r.target_ids = vec!["a".into(); 101], list("target_ids")),
            (
                "the second value is empty",
                |r| r.target_ids = vec!["a".into(), String::new()],
                invalid("target_ids[1]", "REQUIRED"),
            ),
            (
                "a start that is no time",
                |r| r.range_start = $crate::refusals::filters::time(i64::MAX, 0),
                time("range_start"),
            ),
            (
                "a start in the year 0",
                |r| r.range_start = $crate::refusals::filters::time(-62_135_596_801, 0),
                time("range_start"),
            ),
            (
                "an end with negative nanoseconds",
                |r| r.range_end = $crate::refusals::filters::time(0, -1),
                time("range_end"),
            ),
            (
                "an end in the year 10000",
                |r| r.range_end = $crate::refusals::filters::time(253_402_300_800, 0),
                time("range_end"),
            ),
        ];
        rows.into_iter()
            .chain(value_rows!($request, "actions[0]", actions, 255))
            .chain(value_rows!($request, "actor_ids[0]", actor_ids, 1_024))
            .chain(value_rows!($request, "actor_names[0]", actor_names, 1_024))
            .chain(value_rows!($request, "target_types[0]", target_types, 255))
            .chain(value_rows!($request, "target_ids[0]", target_ids, 1_024))
    }};
}

/// The rows for one value of a list.
macro_rules! value_rows {
    ($request:ty, $path:literal, $list:ident, $most:literal) => {
        required_text_rows!(
            $request,
            $path,
            |r| *$crate::refusals::filters::first(&mut r.$list),
            $most
        )
    };
}
pub(super) use {filter_rows, value_rows};

/// A time as it is sent, which may be none.
#[expect(clippy::unnecessary_wraps, reason = "the fields are optional")]
pub fn time(seconds: i64, nanos: i32) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos })
}
