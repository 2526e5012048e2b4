//! What must not be dialled: whatever a tenant writes into a URL, the operator's network stays out of
//! reach. That names are checked when they are dialled, and dialled as they were checked, is the
//! resolver's doing: a name that means another address a moment later is no way around it.

use audit_logs::{
    domain::destination::{Destination, GenericHttps},
    forward::{self, Egress, FailureKind},
};

use super::{NOW, batch, secrets, stream_to};
use crate::receivers::{self, Receiver, RequestForm};

async fn refusal(url: &str, ca_pem: &str, egress: &Egress) -> String {
    let url = url.to_owned();
    let destination = Destination::GenericHttps(GenericHttps { url, ..GenericHttps::default() });
    let sink = forward::open(&stream_to(destination, ca_pem), &secrets(&[]), egress).unwrap();
    let failure = sink.send(&batch(&*sink, 0, 1, 10), NOW).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid, "{failure:?}");
    failure.message
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused() {
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "[::1]",
        "[::]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}/token=hidden?key=hidden");
            let message = refusal(&url, "", &Egress::public()).await;
            assert!(message.contains("log_streams.allowed_networks"), "{message}");
            assert!(!message.contains("hidden"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_name_of_such_an_address_is_refused_when_it_is_dialled() {
    let receiver = Receiver::start(receivers::GenericHttps::new("", RequestForm::Json)).await;
    for egress in [Egress::public(), Egress::parse("10.0.0.0/8").unwrap()] {
        for url in [receiver.named_url(), receiver.url()] {
            let message = refusal(&url, receiver.ca_pem(), &egress).await;
            assert!(message.contains("no public address"), "{message}");
        }
    }
    assert_eq!(receiver.requests(), 0);
}
