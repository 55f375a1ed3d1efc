-- Schema 2: ways from a gateway to what is told of it.

CREATE INDEX incident_gateway ON incident (gateway, id);
CREATE INDEX gap_epoch ON gap (epoch, id);
