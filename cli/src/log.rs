//! What the command logs, on standard error: for people, or an object a line for programs.

use std::{fmt, io, time::SystemTime};

use humantime::format_rfc3339_millis;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::output::has_colours;

/// Begins to log what `RUST_LOG` names, or what has at least `level`.
pub(crate) fn start(level: &str, is_json: bool) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level)))
        .with_writer(io::stderr)
        .with_ansi(has_colours() && !is_json)
        .log_internal_errors(false);
    match is_json {
        true => log.event_format(Json).init(),
        false => log.init(),
    }
}

/// An event as an object: `time`, `level`, `target`, `message`, and what else it says under `fields`.
#[derive(Debug)]
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut found = Fields::default();
        event.record(&mut found);
        let metadata = event.metadata();
        let mut line = Map::new();
        line.insert(
            "time".into(),
            format_rfc3339_millis(SystemTime::now()).to_string().into(),
        );
        line.insert("level".into(), metadata.level().as_str().to_lowercase().into());
        line.insert("target".into(), metadata.target().into());
        line.insert("message".into(), found.message.into());
        if !found.others.is_empty() {
            line.insert("fields".into(), found.others.into());
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// The fields of an event.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().into(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            _ => self.put(field, text.into()),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.put(field, value.into()),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
