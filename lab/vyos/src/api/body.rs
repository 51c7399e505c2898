//! Turns a request's body into a call, or into one of the many ways the real server refuses one.
//!
//! The server takes a form (`data` and `key`) or JSON, whatever the content type says, and
//! checks twice: its own look at a form finds a message but does not act on it; only when the
//! model behind refuses is that first message shown. Hence the odd ones below.

use super::{Answer, python};
use bb_lab_kit::http::{Reply, Request};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A body, read as far as it could be.
pub(super) struct Sent {
    /// The fields, when it is a form.
    form: Option<BTreeMap<String, String>>,
    raw: String,
}

/// Reads the body of `request`.
pub(super) fn read(request: &Request) -> Sent {
    let raw = String::from_utf8_lossy(&request.body).into_owned();
    let kind = request.header("content-type").unwrap_or_default();
    let form = if let Some(boundary) = kind.split("boundary=").nth(1)
        && kind.starts_with("multipart/form-data")
    {
        Some(multipart(&raw, boundary.trim_matches('"')))
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        let pairs = form_urlencoded::parse(&request.body);
        // Text without an equals sign makes no field.
        let fields = raw.contains('=') && !raw.trim_start().starts_with(['{', '[']);
        fields.then(|| pairs.into_owned().collect())
    } else {
        None
    };
    Sent {
        form: form.filter(|fields: &BTreeMap<_, _>| !fields.is_empty()),
        raw,
    }
}

fn multipart(raw: &str, boundary: &str) -> BTreeMap<String, String> {
    let boundary = format!("--{boundary}");
    let parts = raw.split(boundary.as_str()).filter_map(|part| {
        let (head, value) = part.split_once("\r\n\r\n")?;
        let name = head.split("name=\"").nth(1)?.split('"').next()?;
        Some((
            name.to_owned(),
            value.strip_suffix("\r\n").unwrap_or(value).to_owned(),
        ))
    });
    parts.collect()
}

/// The first thing the look at a form finds wrong.
#[derive(Default)]
struct FormError(Option<(u16, String)>);

impl FormError {
    fn note(&mut self, status: u16, text: String) {
        self.0.get_or_insert((status, text));
    }
}

impl Sent {
    /// What was sent, for the journal; the caller masks it.
    pub(super) fn seen(&self) -> Value {
        let data = self
            .form
            .as_ref()
            .map_or(Some(&self.raw), |form| form.get("data"));
        match data.map(|data| serde_json::from_str(data)) {
            None => Value::Null,
            Some(Ok(value)) => value,
            Some(Err(_)) => json!({ "unparsed_bytes": self.raw.len() }),
        }
    }

    /// What was sent as text, for faults to look into.
    pub(super) fn text(&self) -> String {
        match &self.form {
            None => self.raw.clone(),
            Some(form) => form.get("data").cloned().unwrap_or_default(),
        }
    }

    /// The call at `endpoint`: an object with `key` and the endpoint's own fields.
    pub(super) fn call(&self, endpoint: &str) -> Result<Value, Answer> {
        let Some(form) = &self.form else {
            if self.raw.is_empty() {
                return Err(Answer::Error(400, missing("", &[], &Value::Null)));
            }
            let value = serde_json::from_str(&self.raw).map_err(|_| {
                let text = "{'type': 'json_invalid', 'loc': ('body', 0), 'msg': 'JSON decode \
                            error', 'input': {}, 'ctx': {'error': 'Expecting value'}}";
                Answer::Error(400, text.to_owned())
            })?;
            return model(endpoint, &value)
                .map(|()| value)
                .map_err(|e| Answer::Error(400, e));
        };
        let refused = |(status, text)| Err(Answer::Error(status, text));
        let Some(data) = form.get("data") else {
            return refused((422, "Non-empty data field is required".to_owned()));
        };
        let data: Value = match serde_json::from_str(data) {
            Ok(value) => value,
            Err(error) => {
                let text = python::json_error(data, &error);
                return refused((400, format!("Failed to parse JSON: {text}")));
            }
        };
        let mut found = FormError::default();
        let merged = match data {
            Value::Array(list) => {
                list.iter()
                    .for_each(|command| look(endpoint, command, &mut found));
                json!({ "commands": list })
            }
            Value::Object(_) | Value::String(_) => {
                look(endpoint, &data, &mut found);
                data
            }
            // The server's own look falls over these before it finds a message.
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                let text = json!({ "detail": "There was an error parsing the body" });
                return Err(Answer::Other(Reply::json(400, &text)));
            }
        };
        let mut merged = match merged {
            Value::Object(map) => map,
            other => Map::from_iter([("data".to_owned(), other)]),
        };
        match form.get("key") {
            Some(key) => {
                merged.entry("key").or_insert_with(|| key.clone().into());
            }
            None if !merged.contains_key("key") => {
                found.note(401, "Valid API key is required".to_owned());
            }
            None => {}
        }
        let merged = Value::Object(merged);
        match (model(endpoint, &merged), found.0) {
            (Ok(()), _) => Ok(merged),
            (Err(_), Some(found)) => refused(found),
            (Err(text), None) => refused((400, text)),
        }
    }
}

/// The server's own look at one command of a form.
fn look(endpoint: &str, command: &Value, found: &mut FormError) {
    let mut note = |text: &str| {
        let shown = match command {
            Value::String(text) => text.clone(),
            other => python::repr(other),
        };
        found.note(400, format!("Malformed command '{shown}': {text}"));
    };
    let Some(fields) = command.as_object() else {
        return note("any command must be JSON of dict");
    };
    if !fields.contains_key("op") {
        note("missing 'op' field");
    }
    let path = fields.get("path");
    if endpoint != "/config-file" {
        match path {
            None => note("missing 'path' field"),
            Some(Value::Array(words)) if !words.iter().all(Value::is_string) => {
                // The real text names the index in place of the command, and always the first.
                let text = "Malformed command '0': 'path' field must be a list of strings";
                found.note(400, text.to_owned());
                return;
            }
            Some(Value::Array(words)) if words.is_empty() && endpoint == "/configure" => {
                note("'path' list must be non-empty");
            }
            Some(Value::Array(_)) => {}
            Some(_) => note("'path' field must be a list"),
        }
    }
    if endpoint == "/configure" && fields.get("value").is_some_and(|value| !value.is_string()) {
        note("'value' field must be a string");
    }
    // Meant for the section endpoint; the test matches the other one too.
    let section = fields.contains_key("section") || fields.contains_key("config");
    if endpoint.starts_with("/configure") && !section {
        note("missing 'section' or 'config' field");
    }
}

const ERRORS: &str = "https://errors.pydantic.dev/2.7/v";

fn location(model: &str, field: &[&str]) -> String {
    let mut parts = vec!["'body'".to_owned()];
    parts.extend(
        [model]
            .iter()
            .chain(field)
            .filter(|w| !w.is_empty())
            .map(|w| format!("'{w}'")),
    );
    match parts.as_slice() {
        [one] => format!("({one},)"),
        many => format!("({})", many.join(", ")),
    }
}

fn missing(model: &str, field: &[&str], input: &Value) -> String {
    format!(
        "{{'type': 'missing', 'loc': {}, 'msg': 'Field required', 'input': {}, 'url': \
         '{ERRORS}/missing'}}",
        location(model, field),
        python::repr(input)
    )
}

fn wrong(model: &str, field: &str, kind: &str, said: &str, input: &Value) -> String {
    format!(
        "{{'type': '{kind}', 'loc': {}, 'msg': 'Input should be a valid {said}', 'input': {}, \
         'url': '{ERRORS}/{kind}'}}",
        location(model, &[field]),
        python::repr(input)
    )
}

/// The model's own check, whose message holds the whole body: the key too.
fn model(endpoint: &str, body: &Value) -> Result<(), String> {
    let name = match endpoint {
        "/configure" => "ConfigureModel",
        "/configure-section" => "ConfigSectionModel",
        _ => "",
    };
    let Some(fields) = body.as_object() else {
        return Err(format!(
            "{{'type': 'model_attributes_type', 'loc': ('body',), 'msg': 'Input should be a valid \
             dictionary or object to extract fields from', 'input': {}, 'url': \
             '{ERRORS}/model_attributes_type'}}",
            python::repr(body)
        ));
    };
    match fields.get("key") {
        None => return Err(missing(name, &["key"], body)),
        Some(Value::String(_)) => {}
        Some(other) => return Err(wrong(name, "key", "string_type", "string", other)),
    }
    let listed = fields
        .get("commands")
        .and_then(Value::as_array)
        .filter(|_| !name.is_empty());
    if let Some(commands) = listed {
        // The first message is that of the model for a single command, which this is not.
        let all = commands
            .iter()
            .all(|command| single(endpoint, name, command).is_ok());
        return if all {
            Ok(())
        } else {
            Err(missing(name, &["op"], body))
        };
    }
    single(endpoint, name, body)
}

fn single(endpoint: &str, name: &str, command: &Value) -> Result<(), String> {
    let text = |field: &str| match command.get(field) {
        None => Err(missing(name, &[field], command)),
        Some(Value::String(_)) => Ok(()),
        Some(other) => Err(wrong(name, field, "string_type", "string", other)),
    };
    text("op")?;
    if endpoint == "/config-file" {
        return Ok(());
    }
    match command.get("path") {
        None => return Err(missing(name, &["path"], command)),
        Some(Value::Array(words)) => {
            if let Some(other) = words.iter().find(|word| !word.is_string()) {
                return Err(wrong(name, "path", "string_type", "string", other));
            }
            if words.is_empty() && endpoint == "/configure" {
                return Err(format!(
                    "{{'type': 'value_error', 'loc': {}, 'msg': 'Value error, path must be \
                     non-empty', 'input': [], 'url': '{ERRORS}/value_error'}}",
                    location(name, &["path"])
                ));
            }
        }
        Some(other) => return Err(wrong(name, "path", "list_type", "list", other)),
    }
    if endpoint == "/configure" && command.get("value").is_some() {
        text("value")?;
    }
    if endpoint == "/configure-section" {
        return match (command.get("section"), command.get("config")) {
            (None, None) => Err(missing(name, &["section"], command)),
            (Some(Value::Object(_)), _) | (None, Some(_)) => Ok(()),
            (Some(other), _) => Err(wrong(name, "section", "dict_type", "dictionary", other)),
        };
    }
    Ok(())
}
