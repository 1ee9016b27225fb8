-- A store as schema 1 wrote it.
BEGIN TRANSACTION;
CREATE TABLE capacities (
	dpid VARCHAR(16) NOT NULL, 
	port_no BIGINT NOT NULL, 
	capacity_mbps DOUBLE NOT NULL, 
	PRIMARY KEY (dpid, port_no)
);
INSERT INTO "capacities" VALUES('0000000000000001',2,10.0);
CREATE TABLE frames (
	time_s DOUBLE NOT NULL, 
	series_ids BLOB NOT NULL, 
	mbps BLOB NOT NULL, 
	PRIMARY KEY (time_s)
);
CREATE TABLE hosts (
	mac VARCHAR(17) NOT NULL, 
	dpid VARCHAR(16) NOT NULL, 
	port_no BIGINT NOT NULL, 
	ips TEXT NOT NULL, 
	PRIMARY KEY (mac)
);
CREATE TABLE links (
	source_dpid VARCHAR(16) NOT NULL, 
	source_port BIGINT NOT NULL, 
	target_dpid VARCHAR(16) NOT NULL, 
	target_port BIGINT NOT NULL, 
	capacity_mbps DOUBLE, 
	latency_ms DOUBLE, 
	PRIMARY KEY (source_dpid, source_port, target_dpid, target_port)
);
CREATE TABLE lockstitch_meta (
	name VARCHAR(40) NOT NULL, 
	value BIGINT, 
	PRIMARY KEY (name)
);
INSERT INTO "lockstitch_meta" VALUES('schema_version',1);
INSERT INTO "lockstitch_meta" VALUES('next_stitch_id',2);
CREATE TABLE minutes (
	series_id INTEGER NOT NULL, 
	minute_s BIGINT NOT NULL, 
	mean_mbps DOUBLE NOT NULL, 
	max_mbps DOUBLE NOT NULL, 
	samples INTEGER NOT NULL, 
	PRIMARY KEY (series_id, minute_s), 
	FOREIGN KEY(series_id) REFERENCES series (id)
)
 WITHOUT ROWID

;
CREATE TABLE raw_minutes (
	minute_s BIGINT NOT NULL, 
	times_s BLOB NOT NULL, 
	PRIMARY KEY (minute_s)
);
CREATE TABLE raw_values (
	series_id INTEGER NOT NULL, 
	minute_s BIGINT NOT NULL, 
	mbps BLOB NOT NULL, 
	PRIMARY KEY (series_id, minute_s), 
	FOREIGN KEY(series_id) REFERENCES series (id)
)
 WITHOUT ROWID

;
CREATE TABLE series (
	id INTEGER NOT NULL, 
	kind VARCHAR(20) NOT NULL, 
	"key" VARCHAR(120) NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (kind, "key")
);
CREATE TABLE stitches (
	id BIGINT NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	changed_s DOUBLE NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "stitches" VALUES(1,'up',101.5,'{"id":1,"request":{"source_mac":"02:00:00:00:00:0a","target_mac":"02:00:00:00:00:0b","bandwidth_mbps":5.0,"max_latency_ms":null,"both_ways":true,"origin":"api","relieves":null},"state":"up","created_s":100.0,"changed_s":101.5,"epoch":0,"path":{"hops":[{"dpid":1,"in_port":1,"out_port":2}],"links":[],"latency_ms":null},"reason":null,"up_s":101.5,"probe_ms":null}');
CREATE TABLE vnets (
	name VARCHAR(255) NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "vnets" VALUES('red','{"name":"red","members":[{"mac":"02:00:00:00:00:0a","name":"h1"}],"subnets":["10.0.0.0/24"]}');
CREATE INDEX ix_stitches_state ON stitches (state);
COMMIT;
