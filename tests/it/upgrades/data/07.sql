-- An organization with what callers keep beside it.
INSERT INTO organizations (id, environment_id, cursor, name, retention_days, created_at, updated_at, deleted_at, external_id, metadata, domains) VALUES
    ('umbrella', 'environment_01M8016ZV999EPFRSAS9DJACB3', 'olc_01M80171QWAHW33SE40SSZKK22', 'Umbrella', NULL, 1795297609468337, 1795297609468337, NULL, 'crm-4711', '{"plan":"gold"}', '[]');
INSERT INTO log_heads (organization_id, size, updated_at, frontier) VALUES
    ('umbrella', 0, 1795297609605310, x'');
