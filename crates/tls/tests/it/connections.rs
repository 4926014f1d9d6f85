//! Who gets a connection.

use tls::{ConnectError, Expected, Mutual};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

use crate::support::{authority, mutual};

/// A client and a server that are connected over TCP.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

fn host(name: &'static str) -> Expected {
    Expected::Host(name.try_into().unwrap())
}

/// Lets one call the other; what the server has, and what the client reads until the end or an error.
async fn meet(
    client: &Mutual,
    server: &Mutual,
    expected: Expected,
) -> (
    Option<TlsStream<TcpStream>>,
    Result<std::io::Result<()>, ConnectError>,
) {
    let (ours, theirs) = pair().await;
    tokio::join!(
        async {
            let mut accepted = server.accept(theirs).await;
            if let Some(stream) = &mut accepted {
                stream.write_all(b"hello").await.unwrap();
                stream.flush().await.unwrap();
            }
            accepted
        },
        async {
            let mut stream = client.connect(ours, &expected).await?;
            let mut hello = [0; 5];
            Ok(stream
                .read_exact(&mut hello)
                .await
                .map(|_| assert_eq!(&hello, b"hello")))
        }
    )
}

#[tokio::test]
async fn those_of_one_authority_know_each_other() {
    let ours = authority();
    let (task, saga) = (mutual(&ours, "task"), mutual(&ours, "saga"));
    let (accepted, said) = meet(&task, &saga, host("localhost")).await;
    said.unwrap().unwrap();
    let accepted = accepted.unwrap();
    let shown = accepted.get_ref().1.peer_certificates().unwrap();
    let leaf = tls::Leaf::read(&shown[0]).unwrap();
    assert_eq!(leaf.uris(), ["spiffe://evenkeel/task"]);
    meet(&task, &task, Expected::Own).await.1.unwrap().unwrap();
}

#[tokio::test]
async fn the_server_must_have_the_name_that_was_called() {
    let ours = authority();
    let (accepted, said) = meet(&mutual(&ours, "task"), &mutual(&ours, "saga"), host("saga")).await;
    assert!(accepted.is_none());
    assert!(matches!(said, Err(ConnectError::Handshake(_))), "{said:?}");
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_believed() {
    let (task, saga) = (mutual(&authority(), "task"), mutual(&authority(), "saga"));
    let (accepted, said) = meet(&task, &saga, host("localhost")).await;
    assert!(accepted.is_none());
    let error = said.unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_so() {
    let saga = mutual(&authority(), "saga");
    let (mut client, server) = pair().await;
    client
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let answer = async {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        drop(client);
        answer
    };
    let (accepted, answer) = tokio::join!(saga.accept(server), answer);
    assert!(accepted.is_none());
    let text = String::from_utf8_lossy(&answer);
    assert!(text.ends_with("this port speaks TLS: use https://"), "{text}");
}
