//! Turns an answer, recorded or just given, into what must be the same of both.

use crate::recording::{Reply, Request};
use bb_lab_vyos::Running;
use serde_json::{Value, json};

/// What two answers are compared by.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    pub headers: Vec<(String, String)>,
    /// The data or the error, with what may differ taken out.
    pub class: String,
    pub data: Option<Value>,
}

impl Answer {
    /// The recorded one.
    pub(crate) fn recorded(reply: &Reply, request: &Request) -> Self {
        let headers = [("allow", &reply.allow), ("location", &reply.location)];
        Self {
            status: reply.status,
            content_type: reply.content_type.clone(),
            headers: headers
                .iter()
                .filter_map(|(name, value)| Some(((*name).to_owned(), (*value).clone()?)))
                .collect(),
            class: class(reply.json.as_ref(), request),
            data: None,
        }
    }
}

/// Sends a recorded request to the stand-in.
pub(crate) async fn send(client: &reqwest::Client, lab: &Running, request: &Request) -> Answer {
    let method = request.method.parse().unwrap();
    let call = client.request(method, format!("{}{}", lab.api, request.endpoint));
    let call = match request.encoding.as_str() {
        "form" => call.form(&form(request)),
        "json" => {
            let key = request.key.clone();
            let mut body = match &request.ops {
                Value::Array(_) => json!({"commands": request.ops}),
                other => other.clone(),
            };
            if let (Some(key), Some(fields)) = (key, body.as_object_mut()) {
                fields.insert("key".to_owned(), key.into());
            }
            call.json(&body)
        }
        "raw" => {
            let body = request.body.clone().unwrap_or_default();
            let call = request.headers.iter().fold(call, |call, (name, value)| {
                call.header(name.as_str(), value.as_str())
            });
            call.body(body.repeat(request.body_repeat.max(1)))
        }
        _ => call,
    };
    let response = call.send().await.unwrap();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let content_type = header("content-type");
    let headers = ["allow", "location"]
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), header(name)?)))
        .collect();
    let status = response.status().as_u16();
    let body = response.text().await.unwrap();
    let json: Option<Value> = serde_json::from_str(&body).ok();
    let data = json
        .as_ref()
        .filter(|_| status == 200)
        .and_then(|json| json.get("data"));
    Answer {
        status,
        content_type,
        headers,
        class: class(json.as_ref(), request),
        data: data.cloned(),
    }
}

fn form(request: &Request) -> Vec<(&'static str, String)> {
    let data = match (&request.raw_data, &request.ops) {
        (Some(raw), _) => Some(raw.clone()),
        (None, Value::Null) => None,
        (None, ops) => Some(ops.to_string()),
    };
    data.map(|data| ("data", data))
        .into_iter()
        .chain(request.key.clone().map(|key| ("key", key)))
        .collect()
}

/// What must be the same of two answers: of a page that is no JSON, that it is none; of an
/// error, its text but for what no stand-in can know; of data, all of it, except that text for
/// people is compared only when it is one short line.
fn class(json: Option<&Value>, request: &Request) -> String {
    let Some(json) = json else {
        return "no JSON".to_owned();
    };
    if let Some(detail) = json.get("detail") {
        return format!("detail {detail}");
    }
    if let Some(error) = json.get("error").and_then(Value::as_str) {
        return format!("error {}", error_class(error));
    }
    match &json["data"] {
        Value::String(text) if request.endpoint == "/show" && text.lines().count() > 1 => {
            "text".to_owned()
        }
        Value::String(text) if request.endpoint == "/show" && text.starts_with('{') => {
            let shown: Value = serde_json::from_str(text).unwrap_or_default();
            format!("data {shown}")
        }
        Value::String(text) if request.endpoint == "/generate" => {
            let words = text
                .split(' ')
                .map(|word| if is_key(word) { "KEY" } else { word });
            format!("data {}", words.collect::<Vec<_>>().join(" "))
        }
        data => format!("data {data}"),
    }
}

fn is_key(word: &str) -> bool {
    let word = word.trim_end().trim_end_matches("Public").trim_end();
    word.len() == 44 && word.ends_with('=') || word.starts_with("<masked")
}

fn error_class(error: &str) -> String {
    let labels = || {
        error
            .lines()
            .filter(|line| line.starts_with('[') || line.starts_with("delete ["))
            .collect::<Vec<_>>()
            .join(" ")
    };
    if error.starts_with("{'type'") {
        // The dump behind these holds the whole body in the order it was sent.
        let head = error.split("'msg'").next().unwrap_or_default();
        return format!("of the model: {head}");
    }
    if error.contains("Traceback") {
        return format!("a traceback in {}", labels());
    }
    if error.contains("already configured as L3-VNI") || error.contains("already\n") {
        return format!("of the routing daemon in {}", labels());
    }
    error.split_whitespace().collect::<Vec<_>>().join(" ")
}
