//! Apache Kafka: one broker, and Kafka's own consumer to read what it holds. `kafka/` says which jars.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::{Running, authority::Authority};
use crate::support::postgres::free_port;

/// The topic that a broker starts with.
pub const TOPIC: &str = "audit";
/// Who may produce over TLS.
pub const USER: (&str, &str) = ("forwarder", "a-long-password");
/// As many partitions as it takes to see that the key chooses.
const PARTITIONS: &str = "7";

/// Whether it can be started.
pub fn is_installed() -> bool {
    super::is_installed("Apache Kafka", &super::installed("kafka/jars.sha256"))
}

/// A running broker.
pub struct Kafka {
    directory: TempDir,
    process: Running,
    /// Where it takes clients with TLS and SASL/PLAIN, on 127.0.0.1.
    pub tls_port: u16,
    /// Where it takes clients without either.
    pub port: u16,
}

/// A record, as Kafka's consumer prints it.
#[derive(Debug, PartialEq, Eq)]
pub struct Consumed {
    /// The partition.
    pub partition: String,
    /// The headers, `name:value` separated by commas.
    pub headers: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

impl Kafka {
    /// With a certificate for 127.0.0.1, and with [`TOPIC`]. It tells clients with TLS to come to
    /// `advertised`.
    pub async fn start(authority: &Authority, advertised: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = authority.certify("127.0.0.1");
        let store = directory.path().join("store.pem");
        fs::write(&store, key + &certificate).unwrap();
        let [tls_port, port, controller] = [free_port(), free_port(), free_port()];
        let (user, password) = USER;
        let properties = format!(
            "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
listeners=TLS://127.0.0.1:{tls_port},PLAIN://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=TLS://{advertised}:{tls_port},PLAIN://127.0.0.1:{port}
listener.security.protocol.map=TLS:SASL_SSL,PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT
listener.name.tls.ssl.keystore.type=PEM
listener.name.tls.ssl.keystore.location={}
listener.name.tls.sasl.enabled.mechanisms=PLAIN
listener.name.tls.plain.sasl.jaas.config=\\
  org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}=\"{password}\";
log.dirs={}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
",
            store.display(),
            directory.path().join("data").display(),
        );
        fs::write(directory.path().join("server.properties"), properties).unwrap();
        let mut format = java("kafka.tools.StorageTool");
        format.args(["format", "--cluster-id", "AAAAAAAAAAAAAAAAAAAAAA", "--config"]);
        finish(format.arg(directory.path().join("server.properties")));
        let process = run(directory.path(), port).await;
        let kafka = Self { directory, process, tls_port, port };
        kafka.create_topic(TOPIC, &[]);
        kafka
    }

    /// Makes a topic with these settings.
    pub fn create_topic(&self, name: &str, settings: &[&str]) {
        let mut command = java("org.apache.kafka.tools.TopicCommand");
        command.args(["--create", "--topic", name, "--partitions", PARTITIONS]);
        command.args(settings.iter().flat_map(|setting| ["--config", setting]));
        finish(command.arg("--bootstrap-server").arg(format!("127.0.0.1:{}", self.port)));
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again where it was.
    pub async fn start_again(&mut self) {
        self.process = run(self.directory.path(), self.port).await;
    }

    /// The first records of a topic, so many.
    pub fn records(&self, topic: &str, count: usize) -> Vec<Consumed> {
        let mut command = java("org.apache.kafka.tools.consumer.ConsoleConsumer");
        command.args(["--from-beginning", "--timeout-ms", "20000", "--topic", topic]);
        command.args(["--max-messages", &count.to_string()]);
        for printed in ["partition", "headers", "key"] {
            command.args(["--property", &format!("print.{printed}=true")]);
        }
        let text =
            finish(command.arg("--bootstrap-server").arg(format!("127.0.0.1:{}", self.port)));
        let record = |line: &str| {
            let parts: Vec<&str> = line.splitn(4, '\t').collect();
            let [partition, headers, key, value] = parts[..] else {
                panic!("not a record: {line}")
            };
            Consumed {
                partition: partition.to_owned(),
                headers: headers.to_owned(),
                key: key.to_owned(),
                value: value.to_owned(),
            }
        };
        text.lines().map(record).collect()
    }
}

/// A class of Kafka's, in a small machine that starts quickly.
fn java(class: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    command.arg(super::installed("kafka/lib").join("*")).arg(class);
    command
}

/// Runs a command to its end and returns what it prints.
fn finish(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

async fn run(directory: &Path, port: u16) -> Running {
    let mut command = java("kafka.Kafka");
    command.arg(directory.join("server.properties"));
    Running::start("Kafka", &mut command, directory, port).await
}
