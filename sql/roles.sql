-- Run after every migration. The role all processes work as: it may add events, never change or remove one.
-- Where we may not make roles (somebody else's server), the triggers of the event tables still refuse.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kalepool_app') THEN
        BEGIN
            CREATE ROLE kalepool_app NOLOGIN;
        EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
            RAISE NOTICE 'the role kalepool_app was not made: %', SQLERRM;
        END;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'kalepool_app') THEN
        IF NOT pg_has_role(current_user, 'kalepool_app', 'MEMBER') THEN
            BEGIN
                EXECUTE format('GRANT kalepool_app TO %I', current_user);
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE NOTICE 'kalepool_app was not granted to %', current_user;
            END;
        END IF;
        GRANT USAGE ON SCHEMA public TO kalepool_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO kalepool_app;
        GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO kalepool_app;
        REVOKE UPDATE, DELETE, TRUNCATE ON plantings, works, harvests FROM kalepool_app;
        REVOKE INSERT, UPDATE, DELETE ON migrations FROM kalepool_app;
    END IF;
END $$;
