-- Run after every migration: what each process may do. The API and the coordinator log in as these roles, or step down to
-- them where one login has to do for all. Tables are of who migrates. Where we may not make roles (somebody else's server),
-- docs/operating.md says how to; without them the triggers of the event tables still refuse.
DO $$
DECLARE
    role_name TEXT;
    kept RECORD;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['kalepool_api', 'kalepool_coordinator'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
                RAISE NOTICE 'the role % was not made: %', role_name, SQLERRM;
            END;
        END IF;
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name);
        IF NOT pg_has_role(current_user, role_name, 'MEMBER') THEN
            BEGIN
                EXECUTE format('GRANT %I TO %I', role_name, current_user);
            EXCEPTION WHEN insufficient_privilege THEN
                NULL; -- each process logs in as its own
            END;
        END IF;
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA public FROM %I', role_name);
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM %I', role_name);
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', role_name);
    END LOOP;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'kalepool_app') THEN -- of earlier versions
        REVOKE ALL ON ALL TABLES IN SCHEMA public FROM kalepool_app;
        REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM kalepool_app;
    END IF;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'kalepool_api') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO kalepool_api;
        GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO kalepool_api;
        REVOKE INSERT, UPDATE, DELETE ON migrations FROM kalepool_api;
        REVOKE UPDATE, DELETE ON plantings, works, harvests, operator_actions FROM kalepool_api;
        -- Of the books it may only add entries, through the function that keeps balances and the chain of hashes.
        REVOKE UPDATE, DELETE ON block_closings, share_logs, prepayments FROM kalepool_api;
        REVOKE INSERT, UPDATE, DELETE ON transfers, book_accounts, book_head FROM kalepool_api;
        GRANT EXECUTE ON FUNCTION post_transfers TO kalepool_api;
        -- Rows that stay, and columns of theirs that never change: who somebody is, and where money goes.
        FOR kept IN
            SELECT * FROM (VALUES
                ('farmers', ARRAY['farmer_id', 'pooler_id', 'custodial_wallet', 'payout_wallet', 'registered_at',
                                  'registered_by', 'deposit_stroops', 'payout_memo', 'owner_wallet', 'plants_itself']),
                ('accounts', ARRAY['account_id', 'purpose', 'name', 'address', 'created_at']),
                ('withdrawals', ARRAY['withdrawal_id', 'farmer_id', 'idempotency_key', 'asset', 'amount_stroops',
                                      'destination', 'created_at']),
                ('payouts', ARRAY['payout_id', 'miner_id', 'amount_stroops', 'destination', 'memo', 'reason',
                                  'idempotency_key', 'created_at', 'claimable_until']),
                ('claimable_balances', ARRAY['balance_id', 'payout_id', 'made_ledger', 'made_at']),
                ('api_keys', ARRAY['key_id', 'key_hash', 'role', 'subject_id', 'subject_wallet', 'created_at']),
                ('browser_sessions', ARRAY['session_id', 'token_hash', 'key_id', 'created_at', 'expires_at']),
                ('webhooks', ARRAY['webhook_id', 'url', 'types', 'created_at', 'role', 'subject_id']),
                ('webhook_deliveries', ARRAY['webhook_id', 'event_id', 'type', 'body', 'created_at'])
            ) AS t (table_name, columns)
        LOOP
            EXECUTE format('REVOKE UPDATE, DELETE ON %I FROM kalepool_api', kept.table_name);
            EXECUTE (
                SELECT format('GRANT UPDATE (%s) ON %I TO kalepool_api', string_agg(quote_ident(attname), ', '), kept.table_name)
                FROM pg_attribute
                WHERE attrelid = kept.table_name::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL (kept.columns));
        END LOOP;
        GRANT DELETE ON api_keys, browser_sessions TO kalepool_api; -- of sign-ins that have ended
        GRANT DELETE ON webhooks, webhook_deliveries TO kalepool_api; -- what is old
    END IF;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'kalepool_coordinator') THEN
        -- It reads no sealed secret, makes no key, and credits nobody's shares.
        GRANT SELECT ON migrations, blocks, block_operations, plantings, works, harvests, workers, house_hashes, block_plans,
            hashrates TO kalepool_coordinator;
        GRANT SELECT (farmer_id, pooler_id, custodial_wallet, status, registered_at, stake_percentage, paused, resumed_at,
                      stake_most_stroops, plants_itself, price_stroops, prepaid_stroops)
            ON farmers TO kalepool_coordinator;
        GRANT SELECT (key_id, key_hash, role, subject_id, subject_wallet, label, created_at, expires_at, revoked_at)
            ON api_keys TO kalepool_coordinator;
        GRANT SELECT (submission_id, pooler_id, action, status, fee_stroops, submitter) ON submissions TO kalepool_coordinator;
        GRANT SELECT (submission_id, farmer_id, block_index, action, status) ON submission_items TO kalepool_coordinator;
        GRANT SELECT (block_index, farmer_id, nonce, zeros, found_at) ON shares TO kalepool_coordinator;
        GRANT INSERT, UPDATE ON blocks, block_operations, workers, house_hashes, block_plans TO kalepool_coordinator;
        GRANT INSERT (share_id, block_index, farmer_id, searcher, nonce, hash, zeros, found_at) ON shares TO kalepool_coordinator;
        GRANT INSERT (event_id, block_index, pooler_id, farmer_id, outcome, code, message, fault, seconds_left) ON works
            TO kalepool_coordinator; -- attempts that failed: 'worked' needs the zeros and the gap
        GRANT SELECT, INSERT, UPDATE ON coordinator_leases TO kalepool_coordinator;
        GRANT SELECT, INSERT, UPDATE, DELETE ON coordinators TO kalepool_coordinator;
        GRANT INSERT ON hashrates TO kalepool_coordinator;
        GRANT USAGE ON SEQUENCE searcher_ids TO kalepool_coordinator;
    END IF;
END $$;
