use microdiff_server::catalogue::{METRICS, PREFIX};
use microdiff_server::log_fields;
use microdiff_server::spans::SPANS;
use microdiff_telemetry::builtin;
use microdiff_telemetry::logs::{ECS_VERSION, LogField, LogSchema};
use microdiff_telemetry::metrics::{LabelSpec, LabelValues, MetricSpec};
use microdiff_telemetry::traces::catalogue::{self, SpanSpec};
use std::fmt::Write as _;
use std::path::Path;

/// Compares with a committed file, or writes it when `UPDATE_GOLDEN=1`.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{name} is stale; UPDATE_GOLDEN=1 refreshes it");
}

#[test]
fn the_api_description_is_committed() {
    let text = serde_json::to_string_pretty(&microdiff_server::openapi_document()).unwrap();
    golden("openapi.json", &format!("{text}\n"));
}

#[test]
fn the_metric_reference_is_committed() {
    let mut page = String::from(
        "# Metrics\n\nGenerated from the catalogue in code; a test holds the two equal. Every \
         series with closed labels exists from start-up.\n",
    );
    section(&mut page, "Service", METRICS.to_vec());
    section(&mut page, "Telemetry and process", builtin::specs(PREFIX));
    section(&mut page, "GPU listener", builtin::gpu_specs(PREFIX));
    section(&mut page, "Both listeners, each of itself", builtin::registry_specs(PREFIX));
    golden("metrics.md", &page);
}

#[test]
fn the_trace_reference_is_committed() {
    let mut page = String::from(
        "# Traces\n\nGenerated from the catalogue in code; a test holds it equal to what a collector \
         receives. Resource: `service.name` = microdiff-matdesign and `service.version`, unless \
         `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` say otherwise. What is recorded is chosen \
         by the caller's flag or by ratio; a request or design that was not chosen is recorded all \
         the same when it fails or takes longer than `traces.keep_slower_than_seconds`, each for \
         itself: a failed design without its request, if that had ended well.\n",
    );
    for span in catalogue::SPANS.iter().chain(SPANS) {
        describe(&mut page, span);
    }
    golden("traces.md", &page);
}

fn describe(page: &mut String, span: &SpanSpec) {
    let kind = format!("{:?}", span.kind).to_lowercase();
    let parents: Vec<_> = span.parents.iter().map(|name| format!("`{name}`")).collect();
    let inside = match parents.as_slice() {
        [] => "first of the process".to_owned(),
        some => format!("in {}", some.join(", ")),
    };
    let (name, when, fails) = (span.name, span.when, span.fails);
    let _ = writeln!(page, "\n## `{name}`\n\n{kind}, {inside}. {when}\n\nError: {fails}");
    if span.attributes.is_empty() {
        return;
    }
    let _ = writeln!(page, "\n| attribute | type | unit | meaning |\n|---|---|---|---|");
    for attribute in span.attributes {
        let (name, kind, unit) = (attribute.name, attribute.kind.as_str(), attribute.unit);
        let values = match attribute.values {
            [] => String::new(),
            some => format!(" One of {}.", some.join(", ")),
        };
        let _ = writeln!(page, "| `{name}` | {kind} | {unit} | {}{values} |", attribute.meaning);
    }
}

#[test]
fn the_log_reference_is_committed() {
    let catalogue = log_fields::log_catalogue().unwrap();
    let mut page = String::from(
        "# Logs\n\nGenerated from the tables in code; a test holds the two equal, and every line \
         that any test of the service writes has declared fields only.\n\n\
         One JSON object a line, UTF-8. `--log-schema` chooses between the native keys and those \
         of the Elastic Common Schema (ECS ",
    );
    let _ = writeln!(
        page,
        "{ECS_VERSION}), where text and booleans of its own go under `labels.` and numbers under \
         `{PREFIX}.`. A line has the fields that its row names; order does not matter. Lines of \
         libraries (a logger outside `{PREFIX}`) may have further fields. `--log-format pretty` \
         shows the same on stdout for a person."
    );
    for (title, own) in [("Service", true), ("Every service", false)] {
        let head = "| field | type | unit | meaning | on | ECS | ECS type | stability |\n\
                    |---|---|---|---|---|---|---|---|";
        let _ = writeln!(page, "\n## {title}\n\n{head}");
        let of_service = |field: &&LogField| log_fields::LOG_FIELDS.contains(field) == own;
        for field in catalogue.fields().iter().filter(of_service) {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {} | `{}` | {} | {} |",
                field.name,
                field.kind.as_str(),
                field.unit,
                field.meaning,
                field.when,
                field.key(LogSchema::Ecs, PREFIX),
                field.kind_in(LogSchema::Ecs).as_str(),
                field.stability.as_str()
            );
        }
    }
    page.push_str(
        "\n## Loggers\n\nEach has a level of its own (`log.level`, `PUT /loglevel` and \
         `PUT /loglevel/{logger}` of the admin listener, SIGHUP); a level holds for the loggers \
         below it.\n\n| logger | speaks of |\n|---|---|\n",
    );
    for logger in log_fields::LOGGERS {
        let _ = writeln!(page, "| `{}` | {} |", logger.name, logger.meaning);
    }
    golden("logs.md", &page);
}

fn section(page: &mut String, title: &str, specs: Vec<MetricSpec>) {
    let head = "| metric | type | labels | meaning |\n|---|---|---|---|";
    let _ = writeln!(page, "\n## {title}\n\n{head}");
    for spec in specs {
        let (name, kind) = (&spec.name, spec.kind.as_str());
        let _ = writeln!(page, "| `{name}` | {kind} | {} | {} |", labels(&spec), meaning(&spec));
    }
}

fn labels(spec: &MetricSpec) -> String {
    let one = |label: &LabelSpec| match label.values {
        LabelValues::Open => format!("`{}`", label.name),
        LabelValues::Closed(values) => format!("`{}` = {}", label.name, values.join(", ")),
    };
    spec.labels.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn meaning(spec: &MetricSpec) -> String {
    if spec.buckets.is_empty() {
        return spec.help.to_owned();
    }
    let bounds: Vec<String> = spec.buckets.iter().map(f64::to_string).collect();
    format!("{} Buckets: {}.", spec.help, bounds.join(", "))
}
