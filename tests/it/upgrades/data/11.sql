-- A log stream that is paused, and a dead letter of it.
INSERT INTO log_streams (organization_id, id, environment_id, name, destination, ca_certificates_pem, secrets, payload, state, next_sequence, generation, revision, last_success_at, last_error, last_error_at, consecutive_failures, next_attempt_at, delivered_events, delivered_bytes, lease_owner, lease_until, created_at, updated_at) VALUES
    ('acme', 'als_01M801729AGDG3PQPYCMED06JG', 'environment_01M8016ZV999EPFRSAS9DJACB3', 'SIEM', '{"type":"GenericHttps","config":{"url":"https://siem.example.com/in","headers":[],"format":"json","source":"","gzip":false}}', '', NULL, 'workos', 'inactive', 5, 0, 1, NULL, '', NULL, 0, NULL, 0, 0, NULL, 0, 1795297610026525, 1795297610168094);
INSERT INTO log_stream_dead_letters
    (organization_id, log_stream_id, sequence, event_id, reason, redrives, is_due, created_at) VALUES
    ('acme', 'als_01M801729AGDG3PQPYCMED06JG', 2, 'audit_event_01M80171T35W9QCB0DT7TBY51B', 'too large', 0, 0, 1795297610168094);
