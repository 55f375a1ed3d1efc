-- Schema 1. Times are Unix milliseconds, but for those of leases, which are the server's own. Labels (epochs) are 16 bytes.
-- Never edited once released: later schemas add files. Tables stand in the schema `sitian`, in which every connection works.

-- The version of this schema.
CREATE TABLE meta (key text PRIMARY KEY, value bigint NOT NULL);

-- Who keeps which gateways: slots 0 to 63, or -1 for all of them together. Every commit looks here first. A claim raises the
-- term; a keeper that lost sight of a commit of its own raises the turn.
CREATE TABLE lease (
    slot   smallint    PRIMARY KEY,
    member text        NOT NULL,
    term   bigint      NOT NULL,
    turn   bigint      NOT NULL DEFAULT 0,
    until  timestamptz NOT NULL
);

-- Ingestors that share the work, with what the others need to know of them.
CREATE TABLE member (
    member text        PRIMARY KEY,
    api    text        NOT NULL,
    until  timestamptz NOT NULL
);

-- Acknowledgements that were given to a member that does not keep the alert: for whoever keeps its slot.
CREATE TABLE errand (
    id    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slot  smallint    NOT NULL,
    alert bigint      NOT NULL,
    by    text        NOT NULL,
    note  text        NOT NULL,
    at    timestamptz NOT NULL DEFAULT now()
);

-- The registry.
CREATE TABLE gateway (
    no       bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id       text     COLLATE "C" NOT NULL UNIQUE,
    slot     smallint NOT NULL,
    first_ms bigint   NOT NULL
);
CREATE INDEX gateway_slot ON gateway (slot);

CREATE TABLE point (
    no           bigint   PRIMARY KEY,
    gateway      bigint   NOT NULL REFERENCES gateway (no),
    device       text     COLLATE "C" NOT NULL,
    key          text     COLLATE "C" NOT NULL,
    device_name  text     NOT NULL,
    place        text     NOT NULL,
    profile      text     NOT NULL,
    bus          text     NOT NULL,
    device_index bigint   NOT NULL,
    measurement  text     NOT NULL,
    unit         text     NOT NULL,
    decimals     smallint NOT NULL,
    interval_ms  bigint   NOT NULL,
    described_ms bigint   NOT NULL,
    UNIQUE (gateway, device, key)
);

-- Equal manifests of a gateway are stored once: an ordinary restart does not change its points.
CREATE TABLE manifest (
    no      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway bigint NOT NULL REFERENCES gateway (no),
    body    bytea  NOT NULL
);
CREATE INDEX manifest_gateway ON manifest (gateway);

CREATE TABLE epoch (
    no       bigint PRIMARY KEY,
    gateway  bigint NOT NULL REFERENCES gateway (no),
    label    bytea  NOT NULL,
    manifest bigint NOT NULL REFERENCES manifest (no),
    points   bytea  NOT NULL,
    first_ms bigint NOT NULL,
    UNIQUE (gateway, label)
);

-- How far each epoch has come. Rewritten with almost every commit: room is left for it on its page.
CREATE TABLE watermark (
    epoch         bigint  PRIMARY KEY REFERENCES epoch (no),
    committed     bigint  NOT NULL,
    chain         bigint,
    end_seq       bigint  NOT NULL,
    sealed        boolean NOT NULL,
    gone          boolean NOT NULL,
    loss_reported boolean NOT NULL,
    live_rank     bigint  NOT NULL,
    held_rank     bigint  NOT NULL,
    newest_ms     bigint
) WITH (fillfactor = 50);

-- What is missing and why.
CREATE TABLE gap (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    epoch     bigint NOT NULL REFERENCES epoch (no),
    first_seq bigint NOT NULL,
    last_seq  bigint NOT NULL,
    reason    text   NOT NULL,
    from_ms   bigint,
    to_ms     bigint,
    at_ms     bigint NOT NULL
);

CREATE TABLE quarantine (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway      bigint NOT NULL REFERENCES gateway (no),
    label        bytea,
    first_seq    bigint,
    end_seq      bigint,
    form         text   NOT NULL,
    reason       text   NOT NULL,
    at_ms        bigint NOT NULL,
    raw          bytea  NOT NULL,
    redecoded_ms bigint,
    readings     bigint
);
CREATE INDEX quarantine_gateway ON quarantine (gateway);

CREATE TABLE incident (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind      text   NOT NULL,
    gateway   bigint NOT NULL REFERENCES gateway (no),
    label     bytea,
    other     bytea,
    first_seq bigint,
    last_seq  bigint,
    after_ms  bigint,
    at_ms     bigint NOT NULL,
    ended_ms  bigint
);
CREATE INDEX incident_open ON incident (gateway, kind) WHERE ended_ms IS NULL;

-- Readings whose time nobody knows, and between which moments they were taken.
CREATE TABLE undated (
    point     bigint NOT NULL,
    epoch     bigint NOT NULL REFERENCES epoch (no),
    readings  bigint NOT NULL,
    first_seq bigint NOT NULL,
    last_seq  bigint NOT NULL,
    from_ms   bigint NOT NULL,
    to_ms     bigint NOT NULL,
    after_ms  bigint,
    before_ms bigint NOT NULL,
    PRIMARY KEY (point, epoch)
);
CREATE INDEX undated_epoch ON undated (epoch);

-- Alerts: every episode as it is, the log of how it came to be so, and the memory of the engine.
CREATE TABLE episode (
    id             bigint  PRIMARY KEY,
    rule           text    NOT NULL,
    severity       text    NOT NULL,
    severity_worst text    NOT NULL,
    point_no       bigint,
    subject        text    NOT NULL,
    base           text,
    phase          text    NOT NULL,
    started_ms     bigint  NOT NULL,
    fired_ms       bigint,
    resolved_ms    bigint,
    ack_by         text,
    ack_ms         bigint,
    ack_note       text,
    ack_severity   text,
    value          double precision,
    threshold      double precision,
    peak           double precision,
    late           boolean NOT NULL
);
CREATE INDEX episode_open ON episode (id) WHERE phase <> 'resolved';

-- Cursors are given out one after another, by commit: who has read up to one has missed nothing below it.
CREATE TABLE alert_log (
    cursor         bigint  PRIMARY KEY,
    kind           text    NOT NULL,
    at_ms          bigint  NOT NULL,
    id             bigint  NOT NULL,
    rule           text    NOT NULL,
    severity       text    NOT NULL,
    severity_worst text    NOT NULL,
    point_no       bigint,
    subject        text    NOT NULL,
    base           text,
    phase          text    NOT NULL,
    started_ms     bigint  NOT NULL,
    fired_ms       bigint,
    resolved_ms    bigint,
    ack_by         text,
    ack_ms         bigint,
    ack_note       text,
    ack_severity   text,
    value          double precision,
    threshold      double precision,
    peak           double precision,
    late           boolean NOT NULL
);
CREATE INDEX alert_log_id ON alert_log (id);

-- Filed by the slot of the gateway that a piece speaks of; what speaks of none, by that of its keeper.
CREATE TABLE alert_state (
    slot smallint NOT NULL,
    key  text     COLLATE "C" NOT NULL,
    body text     NOT NULL,
    PRIMARY KEY (slot, key)
) WITH (fillfactor = 50);

-- How far every point has come in event time.
CREATE TABLE mark (
    point     bigint PRIMARY KEY,
    newest_ms bigint,
    data_ms   bigint
) WITH (fillfactor = 50);
