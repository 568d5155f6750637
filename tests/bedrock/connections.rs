//! Connections that do not open, or break: what is certain to have been sent.

use std::convert::Infallible;

use quarrier::error::ErrorKind;
use quarrier::provider::bedrock::{Bedrock, BedrockOptions};
use quarrier::provider::{FailedCharge, Provider as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

use crate::request;
use crate::ways::{APIS, ways};

async fn provider_at(endpoint: String) -> Bedrock {
    let options = BedrockOptions {
        endpoint: Some(endpoint),
        simulated_credentials: true,
        ..BedrockOptions::default()
    };
    Bedrock::connect(&options).await.unwrap()
}

#[tokio::test]
async fn a_refused_connection_gives_the_whole_reservation_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let provider = provider_at(endpoint.clone()).await;
    for (way, stream) in ways().flat_map(|way| [(way, true), (way, false)]) {
        let error = provider.generate(&way.request(stream)).await.unwrap_err();
        assert_eq!((error.kind, error.charge), (ErrorKind::ConnectFailed, FailedCharge::NotSent));
        let begins = format!("no connection to {endpoint}: tcp connect error: Connection refused");
        assert!(error.message.starts_with(&begins), "{}", error.message);
        let advice = "; is the endpoint right and the service up, and does no proxy or firewall \
                      stand in between?";
        assert!(error.message.ends_with(advice), "{}", error.message);
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_gives_the_whole_reservation_back() {
    let provider = provider_at("http://no-such-host.invalid".to_owned()).await;
    let error = provider.generate(&request()).await.unwrap_err();
    assert_eq!((error.kind, error.charge), (ErrorKind::ConnectFailed, FailedCharge::NotSent));
    let begins = "no connection to http://no-such-host.invalid: dns error: ";
    assert!(error.message.starts_with(begins), "{}", error.message);
}

#[tokio::test]
async fn a_far_side_that_speaks_no_tls_gives_the_whole_reservation_back_and_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            drop(socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        }
    });
    let error = provider_at(endpoint.clone()).await.generate(&request()).await.unwrap_err();
    assert_eq!((error.kind, error.charge), (ErrorKind::ConnectFailed, FailedCharge::NotSent));
    assert!(error.message.starts_with(&format!("no connection to {endpoint}: ")), "{error}");
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_keeps_the_reservation() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await?;
            // The call has left once its first bytes can be read; then the peer goes away.
            socket.readable().await?;
            drop(socket);
        }
        #[expect(unreachable_code, reason = "names the error type of the block")]
        Ok::<Infallible, std::io::Error>(unreachable!())
    });
    let provider = provider_at(endpoint.clone()).await;
    for (way, stream) in APIS.into_iter().flat_map(|way| [(way, true), (way, false)]) {
        let error = provider.generate(&way.request(stream)).await.unwrap_err();
        assert_eq!((error.kind, error.charge), (ErrorKind::ConnectFailed, FailedCharge::Unknown));
        let begins = format!("the connection to {endpoint} broke: ");
        assert!(error.message.starts_with(&begins), "{}", error.message);
    }
}

#[tokio::test]
async fn dropping_the_call_closes_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (arrived, has_arrived) = oneshot::channel();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.readable().await.unwrap();
        arrived.send(()).unwrap();
        // Ends when the caller closes its side, which it does only by going away.
        let mut request = Vec::new();
        drop(socket.read_to_end(&mut request).await);
    });
    let provider = provider_at(endpoint).await;
    let request = request();
    tokio::select! {
        answer = provider.generate(&request) => panic!("nobody answered, yet: {answer:?}"),
        _ = has_arrived => {}
    }
    let bound = std::time::Duration::from_secs(20);
    tokio::time::timeout(bound, server).await.unwrap().unwrap();
}

/// A listener whose queue is full lets further connections hang, as a firewall does.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_does_not_open_in_time_gives_the_whole_reservation_back() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    for _ in 0..2 {
        queue.push(TcpStream::connect(address).await.unwrap());
    }
    let options = BedrockOptions {
        endpoint: Some(format!("http://{address}")),
        simulated_credentials: true,
        connect_timeout_ms: 100,
        ..BedrockOptions::default()
    };
    let provider = Bedrock::connect(&options).await.unwrap();
    let error = provider.generate(&request()).await.unwrap_err();
    assert_eq!((error.kind, error.charge), (ErrorKind::ConnectFailed, FailedCharge::NotSent));
}
