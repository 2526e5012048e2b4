//! What is past its retention goes, and nothing else does.

mod crashes;
mod erasing;
mod holds;
mod repeats;
mod sweeping;
mod tampering;

use std::sync::Arc;

use audit_logs::{
    domain::{
        clock::{Clock, ManualClock},
        ids::OrganizationId,
        timestamp::Timestamp,
    },
    proto::v1::{
        AuditLogConfiguration, EventRecord, GetAuditLogConfigurationRequest, ListEventsRequest,
        UpdateRetentionRequest,
    },
    store::{RetentionRule, Store},
    telemetry::Telemetry,
    verify::{DatabaseVerifier, TrustedKeys, log::LogReport},
    worker::retention::{RetentionSweeper, Swept},
};
use tokio_util::sync::CancellationToken;

use crate::support::{Engine, TestServer, until};

const NOW: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);
const DAY: i64 = 86_400;

/// A server whose clock stands, and a sweeper that works when it is told to.
struct Trail {
    server: TestServer,
    clock: Arc<ManualClock>,
    store: Store,
}

impl Trail {
    async fn new(engine: Engine) -> Self {
        let (server, clock) = TestServer::start_with_clock(engine, NOW).await;
        Self::over(server, clock).await
    }

    async fn over(server: TestServer, clock: Arc<ManualClock>) -> Self {
        // The server's own sweeper looks once, at its start.
        until("the server swept", async || {
            let finished = "SELECT finished_at FROM leases WHERE held_until = 0";
            (!server.query_integers(finished).await.is_empty()).then_some(())
        })
        .await;
        // The system log is swept like every other; here it stays, so that sums are those of the tests.
        let keep = "UPDATE organizations SET retention_days = 36500 \
                    WHERE id LIKE 'system_environment_%'";
        server.execute(keep).await;
        let store = server.store().await;
        Self { server, clock, store }
    }

    /// The sweeper of a replica; a sweep is always due.
    fn sweeper(&self, owner: &str) -> RetentionSweeper {
        RetentionSweeper {
            store: self.store.clone(),
            clock: self.clock.clone(),
            default_days: self.server.settings.retention.default_days,
            interval_seconds: 0,
            telemetry: Telemetry::off(),
            owner: owner.to_owned(),
        }
    }

    async fn sweep(&self) -> Swept {
        let swept = self.sweeper("test").sweep_if_due(&CancellationToken::new()).await.unwrap();
        let swept = swept.expect("nobody else sweeps");
        assert!(swept.is_complete, "{swept:?}");
        swept
    }

    fn rule(&self) -> RetentionRule {
        let default_days = self.server.settings.retention.default_days;
        RetentionRule { now: self.clock.now(), default_days }
    }

    fn after_days(&self, days: i64) {
        self.clock.advance_seconds(days * DAY);
    }

    async fn keep_for_days(&self, organization: &str, days: i32) {
        let request = UpdateRetentionRequest {
            organization_id: organization.into(),
            retention_period_in_days: days,
        };
        self.server.organizations().await.update_retention(request).await.unwrap();
    }

    async fn configuration(&self, organization: &str) -> AuditLogConfiguration {
        let request = GetAuditLogConfigurationRequest { organization_id: organization.into() };
        let mut client = self.server.organizations().await;
        let answer = client.get_audit_log_configuration(request).await.unwrap();
        answer.into_inner().configuration.unwrap()
    }

    /// Rows of a log: those of events, and tombstones.
    async fn rows(&self, organization: &str) -> (i64, i64) {
        let count = async |condition: &str| {
            let sql = format!(
                "SELECT COUNT(*) FROM events WHERE organization_id = '{organization}' \
                 AND {condition}"
            );
            self.server.query_integers(&sql).await[0]
        };
        (count("LENGTH(payload) > 0").await, count("LENGTH(payload) = 0").await)
    }

    /// All events that a list has, oldest first.
    async fn list(&self, organization: &str) -> Vec<EventRecord> {
        let mut client = self.server.client().await;
        let (mut events, mut after) = (Vec::new(), String::new());
        loop {
            let request = ListEventsRequest {
                organization_id: organization.into(),
                limit: 100,
                order: 1,
                after,
                ..ListEventsRequest::default()
            };
            let page = client.list_events(request).await.unwrap().into_inner();
            events.extend(page.events);
            after = page.list_metadata.unwrap().after;
            if after.is_empty() {
                return events;
            }
        }
    }

    /// Checks a log against everything that was recorded.
    async fn check(&self, organization: &str) -> LogReport {
        let mut keys = TrustedKeys::default();
        for key in self.store.signing_keys().await.unwrap() {
            keys.add_operator(key.public_key);
        }
        let verifier = DatabaseVerifier::new(self.store.clone(), keys);
        let organization = OrganizationId::from_stored(organization);
        let mut progress = 0;
        let report = verifier.check(organization, |events| progress += events).await.unwrap();
        assert_eq!(progress, report.events);
        report
    }

    /// Checks a log in which nothing is wrong: how many events it had, and how many are erased.
    async fn verified(&self, organization: &str) -> (u64, u64) {
        let report = self.check(organization).await;
        assert!(report.findings.is_empty(), "{report:#?}");
        (report.events, report.erased)
    }
}
