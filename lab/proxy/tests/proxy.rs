//! Turns a proxy before a small server into what the caller and the server each saw.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bb_lab_kit::http::{BodyLimit, Reply, Request, serve};
use bb_lab_kit::{Stop, tls};
use bb_lab_proxy::{Action, End, Fits, Proxy, Rule, Tcp, Trust, Way, When, watch_error};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything here takes.
const BOUND: Duration = Duration::from_secs(20);

/// A server that counts what reaches it and answers with what it got, a proxy before it, and a
/// client that trusts the proxy only.
struct Stage {
    reached: Arc<AtomicUsize>,
    proxy: Proxy,
    client: reqwest::Client,
}

async fn stage() -> Stage {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let identity = tls::identity(&["echo"]).unwrap();
    let reached = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reached);
    let echo = move |request: Request| {
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let text = format!(
                "{} {}?{} {body}",
                request.method, request.path, request.query
            );
            Reply::text(200, &text).with_header("x-from", "echo")
        }
    };
    tokio::spawn(serve(
        listener,
        Some(tls::server_config(&identity).unwrap()),
        BodyLimit::bytes(1 << 20),
        echo,
        Stop::new(),
    ));
    let upstream = format!("https://{address}");
    let proxy = Proxy::start("echo", &upstream, Trust::Ca(&identity.cert_pem))
        .await
        .unwrap();
    Stage {
        reached,
        client: client(&proxy),
        proxy,
    }
}

fn client(proxy: &Proxy) -> reqwest::Client {
    let ca = reqwest::Certificate::from_pem(proxy.ca_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy();
    client.user_agent("tester").build().unwrap()
}

impl Stage {
    async fn post(&self, path: &str, body: &str) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}{path}", self.proxy.url());
        self.client.post(url).body(body.to_owned()).send().await
    }

    fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }

    fn ends(&self) -> Vec<End> {
        self.proxy.calls().iter().map(|call| call.end).collect()
    }
}

#[tokio::test]
async fn what_passes_is_as_it_was_sent_and_stands_in_the_journal() {
    let stage = stage().await;
    let answer = stage.post("/a%20b?c=d%2Fe", "four").await.unwrap();
    assert_eq!(answer.headers()["x-from"], "echo");
    assert_eq!(answer.text().await.unwrap(), "POST /a%20b?c=d%2Fe four");
    stage.post("/second", "").await.unwrap();
    let calls = stage.proxy.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!((calls[0].seq, calls[1].seq), (1, 2));
    assert_eq!(calls[0].asked.target(), "/a%20b?c=d%2Fe");
    assert_eq!(calls[0].agent, "tester");
    assert_eq!(calls[0].digest.len(), 64);
    assert_ne!(calls[0].digest, calls[1].digest);
    assert_eq!(calls[0].end, End::Answered(200));
    assert!(!format!("{calls:?}").contains("four"));
}

#[tokio::test]
async fn a_cut_before_is_not_seen_by_the_upstream_and_a_cut_after_is() {
    let stage = stage().await;
    let fits = Fits::path("/x").method("post").body("me");
    stage
        .proxy
        .rule(Rule::new(fits.clone(), Action::CutBefore).skip(1).times(1));
    stage
        .proxy
        .rule(Rule::new(fits, Action::CutAfter).skip(1).times(1));
    stage.post("/x", "me").await.unwrap();
    assert!(stage.post("/x", "me").await.is_err());
    assert_eq!(stage.reached(), 1);
    stage.post("/x", "you").await.unwrap();
    stage.post("/y", "me").await.unwrap();
    assert!(stage.post("/x", "me").await.is_err());
    assert_eq!(stage.reached(), 4);
    stage.post("/x", "me").await.unwrap();
    let passed = End::Answered(200);
    let wanted = [
        passed,
        End::CutBefore,
        passed,
        passed,
        End::CutAfter(200),
        passed,
    ];
    assert_eq!(stage.ends(), wanted);
}

#[tokio::test]
async fn an_answer_of_the_proxys_own_has_status_headers_and_body() {
    let stage = stage().await;
    stage
        .proxy
        .rule(Rule::new(Fits::any(), Action::too_many(7)).times(1));
    let answer = stage.post("/", "").await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "7");
    let status: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(status["code"], 429);
    assert_eq!(stage.post("/", "").await.unwrap().status(), 200);
    assert_eq!(stage.reached(), 1);
}

#[tokio::test]
async fn a_delay_delays_and_a_black_hole_answers_nothing_until_it_is_cleared() {
    let stage = stage().await;
    let time = Duration::from_millis(80);
    let rule = stage
        .proxy
        .rule(Rule::new(Fits::any(), Action::Delay(time)));
    let began = Instant::now();
    stage.post("/", "").await.unwrap();
    assert!(began.elapsed() >= time);
    stage.proxy.remove(rule);
    stage.proxy.black_hole();
    let patience = Duration::from_millis(100);
    let waited = tokio::time::timeout(patience, stage.post("/", "")).await;
    assert!(waited.is_err());
    stage.proxy.clear();
    stage.post("/", "").await.unwrap();
    assert_eq!(stage.reached(), 2);
}

#[tokio::test]
async fn a_call_held_before_or_after_goes_on_or_is_cut_as_the_test_says() {
    for (when, release, reached) in [
        (When::Before, true, 1),
        (When::Before, false, 0),
        (When::After, true, 1),
        (When::After, false, 1),
    ] {
        let stage = stage().await;
        let mut gate = stage.proxy.gate(Fits::path("/held"), 0, when);
        stage.post("/other", "").await.unwrap();
        let look = async {
            let held = gate.held(BOUND).await.unwrap();
            assert_eq!(held.call.asked.path, "/held");
            assert_eq!(held.status, (when == When::After).then_some(200));
            assert_eq!(stage.reached(), 1 + usize::from(when == When::After));
            if release { held.release() } else { held.cut() }
        };
        let (answer, ()) = tokio::join!(stage.post("/held", ""), look);
        assert_eq!(answer.is_ok(), release);
        assert_eq!(stage.reached(), 1 + reached);
        stage.post("/held", "").await.unwrap();
    }
}

#[tokio::test]
async fn a_gate_that_is_dropped_holds_nothing() {
    let stage = stage().await;
    drop(stage.proxy.gate(Fits::any(), 0, When::Before));
    stage.post("/", "").await.unwrap();
}

#[tokio::test]
async fn the_greatest_number_at_once_is_known() {
    let stage = stage().await;
    stage.post("/", "").await.unwrap();
    stage.post("/", "").await.unwrap();
    assert_eq!(stage.proxy.most_at_once(), 1);
    let mut first = stage.proxy.gate(Fits::path("/a"), 0, When::Before);
    let look = async {
        let held = first.held(BOUND).await.unwrap();
        stage.post("/b", "").await.unwrap();
        held.release();
    };
    let (answer, ()) = tokio::join!(stage.post("/a", ""), look);
    answer.unwrap();
    assert_eq!(stage.proxy.most_at_once(), 2);
}

/// A server of one endless answer, to which the test adds chunks.
async fn streaming() -> (Proxy, tokio::sync::mpsc::UnboundedSender<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let (sender, mut chunks) = tokio::sync::mpsc::unbounded_channel::<&'static str>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        while let Some(chunk) = chunks.recv().await {
            let framed = format!("{:x}\r\n{chunk}\r\n", chunk.len());
            if stream.write_all(framed.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    (
        Proxy::start("watch", &upstream, Trust::Anyone)
            .await
            .unwrap(),
        sender,
    )
}

async fn open(proxy: &Proxy) -> reqwest::Response {
    let url = format!("{}/api?watch=true", proxy.url());
    client(proxy).get(url).send().await.unwrap()
}

#[tokio::test]
async fn a_watch_streams_takes_an_event_more_and_goes_silent() {
    let (proxy, chunks) = streaming().await;
    let mut answer = open(&proxy).await;
    chunks.send("one\n").unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "one\n");
    let gone = watch_error(410, "Expired", "too old");
    assert_eq!(proxy.inject(&Fits::path("/other"), &gone), 0);
    assert_eq!(proxy.inject(&Fits::watches(), &gone), 1);
    let event = answer.chunk().await.unwrap().unwrap();
    let event: serde_json::Value = serde_json::from_slice(&event).unwrap();
    assert_eq!(event["object"]["code"], 410);
    chunks.send("two\n").unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "two\n");
    assert_eq!(proxy.silence(&Fits::watches()), 1);
    chunks.send("three\n").unwrap();
    let silent = tokio::time::timeout(Duration::from_millis(100), answer.chunk()).await;
    assert!(silent.is_err());
}

#[tokio::test]
async fn a_watch_that_is_cut_fails_at_its_caller() {
    let (proxy, chunks) = streaming().await;
    let mut answer = open(&proxy).await;
    chunks.send("one\n").unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    assert_eq!(proxy.cut(&Fits::any()), 1);
    assert!(answer.chunk().await.is_err());
    assert_eq!(proxy.cut(&Fits::any()), 0);
}

#[tokio::test]
async fn bytes_pass_wait_and_are_cut_as_the_way_is_switched() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let proxy = Tcp::start(upstream).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let mut got = [0; 4];
    stream.write_all(b"ping").await.unwrap();
    stream.read_exact(&mut got).await.unwrap();

    let time = Duration::from_millis(40);
    proxy.switch(Way::Slow(time));
    let began = Instant::now();
    stream.write_all(b"slow").await.unwrap();
    stream.read_exact(&mut got).await.unwrap();
    assert!(began.elapsed() >= 2 * time, "there and back");

    proxy.switch(Way::BlackHole);
    stream.write_all(b"hole").await.unwrap();
    let patience = Duration::from_millis(100);
    let silent = tokio::time::timeout(patience, stream.read_exact(&mut got)).await;
    assert!(silent.is_err());
    proxy.switch(Way::Open);
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hole");

    proxy.switch(Way::Cut);
    assert_eq!(stream.read(&mut got).await.unwrap_or(0), 0);
    let mut again = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(again.read(&mut got).await.unwrap_or(0), 0);
}
