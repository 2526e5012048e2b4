-- An environment and its key.
INSERT INTO environments (id, name, created_at) VALUES
    ('environment_01M8016ZV999EPFRSAS9DJACB3', 'default', 1795297607529297);
INSERT INTO api_keys (id, environment_id, name, value_hash, hint, scopes, organization_ids, created_at, revoked_at) VALUES
    ('api_key_01M8016ZVA3W73361K58J631ZV', 'environment_01M8016ZV999EPFRSAS9DJACB3', 'bootstrap', x'9aa88190999e33f14efab69da5c6d8358c0d351e52a03f9b5098d77acfb82db1', 'tuvw', '["events:write","events:read","schemas:write","schemas:read","exports","organizations","log_streams","keys"]', '[]', 1795297607530124, NULL);
