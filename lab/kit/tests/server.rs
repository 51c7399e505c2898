//! Turns raw bytes on a socket into what a client of a stand-in sees of it.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use bb_lab_kit::Stop;
use bb_lab_kit::control::Control;
use bb_lab_kit::faults::Action;
use bb_lab_kit::http::{BodyLimit, Reply, Request, serve};
use serde_json::json;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Sends `text` on a connection of its own and reads until it is closed.
async fn talk(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

fn last(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

async fn echo(request: Request) -> Reply {
    match request.path.as_str() {
        "/cut" => Reply::closed(),
        "/reason" => Reply {
            reason: Some("got no lock".into()),
            ..Reply::text(500, "")
        },
        path => Reply::text(
            200,
            &format!("{path}|{}|{}", request.query, request.body.len()),
        ),
    }
}

async fn server(limit: usize) -> (SocketAddr, Stop) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Stop::new();
    tokio::spawn(serve(
        listener,
        None,
        BodyLimit::bytes(limit),
        echo,
        stop.clone(),
    ));
    (address, stop)
}

#[tokio::test]
async fn paths_and_queries_arrive_as_they_were_sent() {
    let (address, _stop) = server(10).await;
    let answer = talk(address, &last("POST", "/a%2Fb?x=%20", "12345")).await;
    assert!(answer.ends_with("/a%2Fb|x=%20|5"), "{answer}");
}

#[tokio::test]
async fn one_connection_carries_many_calls() {
    let (address, _stop) = server(10).await;
    let first = "GET /one HTTP/1.1\r\nhost: lab\r\n\r\n";
    let answer = talk(address, &format!("{first}{}", last("GET", "/two", ""))).await;
    assert!(
        answer.contains("/one||0") && answer.ends_with("/two||0"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_reply_may_carry_a_reason_of_its_own_or_not_come_at_all() {
    let (address, _stop) = server(10).await;
    let answer = talk(address, &last("GET", "/reason", "")).await;
    assert!(
        answer.starts_with("HTTP/1.1 500 got no lock\r\n"),
        "{answer}"
    );
    assert_eq!(talk(address, &last("GET", "/cut", "")).await, "");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_one_at_it_is_not() {
    let (address, _stop) = server(10).await;
    let answer = talk(address, &last("POST", "/x", &"y".repeat(11))).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(
        talk(address, &last("POST", "/x", &"y".repeat(10)))
            .await
            .ends_with("|10")
    );
    let large = talk(address, &last("POST", "/x", &"y".repeat(3 << 20))).await;
    assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
}

#[tokio::test]
async fn a_stopped_server_frees_its_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Stop::new();
    let ends = tokio::spawn(serve(
        listener,
        None,
        BodyLimit::bytes(10),
        echo,
        stop.clone(),
    ));
    let idle = TcpStream::connect(address).await.unwrap();
    stop.stop();
    ends.await.unwrap();
    drop(idle);
    TcpListener::bind(address).await.unwrap();
}

#[tokio::test]
async fn the_control_port_takes_faults_and_gives_counts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Stop::new();
    let control = Control::new(stop.clone(), || json!({"up": true})).routes(|request| {
        Box::pin(async move { (request.path == "/own").then(|| Reply::text(200, "mine")) })
    });
    let (counters, faults) = (control.counters.clone(), control.faults.clone());
    let ends = tokio::spawn(control.run(listener));
    counters.add("calls", 3);

    assert!(
        talk(address, &last("GET", "/counters", ""))
            .await
            .ends_with(r#"{"calls":3}"#)
    );
    assert!(
        talk(address, &last("GET", "/state", ""))
            .await
            .ends_with(r#"{"up":true}"#)
    );
    assert!(
        talk(address, &last("GET", "/own", ""))
            .await
            .ends_with("mine")
    );
    let fault = json!({"path_contains": "/x", "action": {"kind": "hang", "ms": 5}}).to_string();
    talk(address, &last("POST", "/faults", &fault)).await;
    assert_eq!(faults.take("GET", "/x", ""), Some(Action::Hang { ms: 5 }));
    let refused = talk(address, &last("POST", "/faults", "{}")).await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    talk(address, &last("POST", "/counters/reset", "")).await;
    assert_eq!(counters.get("calls"), 0);
    talk(address, &last("POST", "/shutdown", "")).await;
    ends.await.unwrap();
    assert!(stop.is_stopped());
}
