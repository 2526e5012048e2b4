//! The log of the process.

use std::{
    fmt,
    io::{IsTerminal, stderr},
};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Json, JsonFields, Writer},
    },
    registry::LookupSpan,
};

use super::request::{Current, current};
use crate::config::LogFormat;

/// Starts logging to standard error: text on a terminal, JSON otherwise, unless `format` says.
/// `RUST_LOG` selects what is logged; `default_filter` applies where it is not set.
pub fn init(format: LogFormat, default_filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| default_filter.into());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let json = match format {
        LogFormat::Auto => !stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    // Fails only where a log was started already, which then goes on.
    let _ = if json {
        let format = Format::default().json();
        builder.fmt_fields(JsonFields::new()).event_format(JsonLines(format)).try_init()
    } else {
        let format = Format::default().with_ansi(stderr().is_terminal());
        builder.event_format(TextLines(format)).try_init()
    };
}

/// One JSON object a line. In a request it begins with `request_id` and, if there is a trace, `trace_id`.
struct JsonLines(Format<Json>);

/// Text, with the same two at the end of a line.
struct TextLines(Format<Full>);

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(current) = current() else { return self.0.format_event(context, writer, event) };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let Some(rest) = line.strip_prefix('{') else { return writer.write_str(&line) };
        let (id, trace) = ids(&current);
        let id = serde_json::to_string(id).map_err(|_| fmt::Error)?;
        write!(writer, "{{\"request_id\":{id},")?;
        if let Some(trace) = trace {
            write!(writer, "\"trace_id\":\"{trace}\",")?;
        }
        writer.write_str(rest)
    }
}

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(current) = current() else { return self.0.format_event(context, writer, event) };
        let mut line = String::new();
        // The inner format knows by itself whether to use colours.
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let (id, trace) = ids(&current);
        write!(writer, "{} request_id={id}", line.trim_end())?;
        if let Some(trace) = trace {
            write!(writer, " trace_id={trace}")?;
        }
        writeln!(writer)
    }
}

fn ids(current: &Current) -> (&str, Option<impl fmt::Display>) {
    (current.request_id(), current.trace_id())
}
