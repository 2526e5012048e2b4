-- An action and its schema.
INSERT INTO actions (environment_id, name, cursor, latest_version, created_at) VALUES
    ('environment_01M8016ZV999EPFRSAS9DJACB3', 'document.signed', 'ala_01M80171PW56FZVXZWBGKE3YHC', 1, 1795297609436166);
INSERT INTO action_schemas (environment_id, action_name, version, definition, fingerprint, created_at) VALUES
    ('environment_01M8016ZV999EPFRSAS9DJACB3', 'document.signed', 1, '{"targets":[{"type":"document"}]}', x'7b2274617267657473223a5b7b2274797065223a22646f63756d656e74227d5d7d', 1795297609436166);
