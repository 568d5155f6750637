//! Connections that do not open, or break: what is certain to have been sent.

use std::convert::Infallible;

use quarrier::error::ErrorKind;
use quarrier::provider::bedrock::{Bedrock, BedrockOptions};
use quarrier::provider::{FailedCharge, Provider as _};
use tokio::net::TcpListener;

use crate::{request, whole_request};

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
    let provider = provider_at(endpoint).await;
    for base in [request(), whole_request()] {
        let error = provider.generate(&base).await.unwrap_err();
        assert_eq!((error.kind, error.charge), (ErrorKind::ConnectFailed, FailedCharge::NotSent));
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_gives_the_whole_reservation_back() {
    let provider = provider_at("http://no-such-host.invalid".to_owned()).await;
    let error = provider.generate(&request()).await.unwrap_err();
    assert_eq!((error.kind, error.charge), (ErrorKind::ConnectFailed, FailedCharge::NotSent));
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
    let provider = provider_at(endpoint).await;
    let error = provider.generate(&request()).await.unwrap_err();
    assert_eq!((error.kind, error.charge), (ErrorKind::ConnectFailed, FailedCharge::Unknown));
}
