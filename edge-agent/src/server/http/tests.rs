use std::time::SystemTime;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::agent::status::{Failure, Stage, Status, StatusError};
use crate::telemetry::metrics::sample;

/// Serves `status` on a free port and answers what `GET path` gave: the code and the body.
async fn answer(status: impl Fn() -> Result<Status, StatusError> + Send + Sync + 'static, paths: &[&str]) -> Vec<(u16, String)> {
    let status: StatusSource = Arc::new(status);
    let exporter = Exporter::new(Arc::clone(&status), Arc::default(), Arc::default(), Arc::default());
    let listener = bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = Server { status, exporter, heartbeat: Arc::default() };
    let task = tokio::spawn(serve(listener, server, std::future::pending()));
    let mut answers = Vec::new();
    for path in paths {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n").as_bytes()).await.expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a header");
        answers.push((head[9..12].parse().expect("a status code"), body.to_owned()));
    }
    task.abort();
    answers
}

#[tokio::test]
async fn all_is_well() {
    let answers = answer(|| Ok(sample::status()), &["/metrics", "/healthz", "/readyz", "/", "/nothing"]).await;
    assert_eq!(answers.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [200, 200, 200, 200, 404]);
    assert!(answers[0].1.contains("\nedge_generation 7\n"), "{}", answers[0].1);
    assert_eq!(answers[2].1, "{\"ready\":true,\"generation\":7,\"missing\":[]}\n");
    assert!(answers[3].1.contains("/metrics"));
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let detached = || {
        let mut status = sample::status();
        status.snapshot.interfaces[0].mode = None;
        status.ready = false;
        status.last_failure = Some(Failure { at: SystemTime::UNIX_EPOCH, stage: Stage::Resolve, problems: "no country `XX`".to_owned() });
        Ok(status)
    };
    let answers = answer(detached, &["/readyz"]).await;
    assert_eq!(answers[0].0, 503);
    let body: serde_json::Value = serde_json::from_str(&answers[0].1).expect("JSON");
    assert_eq!(body["ready"], false);
    assert_eq!(
        body["missing"],
        serde_json::json!(["the filter is not attached to lan0 (inside)", "the last load failed (resolve): no country `XX`"])
    );

    let unloaded = || Ok(Status { ready: false, ..sample::status() });
    assert_eq!(answer(unloaded, &["/readyz"]).await[0].0, 503, "the agent's own word counts where nothing else is missing");
    let empty = || Ok(Status { generation: 0, ..sample::status() });
    assert!(answer(empty, &["/readyz"]).await[0].1.contains("no policies are in force"));
}

#[tokio::test]
async fn an_unreadable_kernel_is_an_error_and_not_half_the_truth() {
    let answers = answer(|| Err(StatusError("map RULE_COUNTERS: EPERM".into())), &["/metrics", "/readyz", "/healthz"]).await;
    assert_eq!(answers.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [500, 500, 200]);
    assert_eq!(answers[0].1, "cannot read the kernel's counters: map RULE_COUNTERS: EPERM\n");
}

#[tokio::test]
async fn a_taken_address_is_named_with_its_key() {
    let taken = bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let address = taken.local_addr().expect("bound");
    let error = bind(address).await.expect_err("the address is taken").to_string();
    assert!(error.contains(&address.to_string()) && error.contains("`metrics.listen` in agent.yaml"), "{error}");
}
