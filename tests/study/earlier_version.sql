BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'search');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'space','"8d97563c36937951"');
INSERT INTO "study_user_attributes" VALUES(2,1,'repeats','{"2": [0.6, 0.5]}');
INSERT INTO "study_user_attributes" VALUES(3,1,'confirmed','{"0": {"fitness": 0.9, "seconds": 10.0}}');
INSERT INTO "study_user_attributes" VALUES(4,1,'measured','{"2": {"latency_measured_ms": 8.0}}');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,1,0.2,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,2,0.5,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'a',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2, 3]}}');
INSERT INTO "trial_params" VALUES(2,1,'b',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["x", "y"]}}');
INSERT INTO "trial_params" VALUES(3,1,'odd',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["(1, 2)", "(3, 4)"]}}');
INSERT INTO "trial_params" VALUES(4,2,'a',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2, 3]}}');
INSERT INTO "trial_params" VALUES(5,2,'b',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["x", "y"]}}');
INSERT INTO "trial_params" VALUES(6,2,'odd',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["(1, 2)", "(3, 4)"]}}');
INSERT INTO "trial_params" VALUES(7,3,'a',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2, 3]}}');
INSERT INTO "trial_params" VALUES(8,3,'b',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["x", "y"]}}');
INSERT INTO "trial_params" VALUES(9,3,'odd',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["(1, 2)", "(3, 4)"]}}');
INSERT INTO "trial_params" VALUES(10,4,'a',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1, 2, 3]}}');
INSERT INTO "trial_params" VALUES(11,4,'b',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["x", "y"]}}');
INSERT INTO "trial_params" VALUES(12,4,'odd',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["(1, 2)", "(3, 4)"]}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'name','""');
INSERT INTO "trial_user_attributes" VALUES(2,1,'in_space','true');
INSERT INTO "trial_user_attributes" VALUES(3,1,'fidelity','{"epochs": 3}');
INSERT INTO "trial_user_attributes" VALUES(4,1,'metrics','{"fitness": 0.5}');
INSERT INTO "trial_user_attributes" VALUES(5,1,'cost','{"flops": 3.0}');
INSERT INTO "trial_user_attributes" VALUES(6,1,'seconds','1.5');
INSERT INTO "trial_user_attributes" VALUES(7,1,'error','""');
INSERT INTO "trial_user_attributes" VALUES(8,2,'name','""');
INSERT INTO "trial_user_attributes" VALUES(9,2,'in_space','true');
INSERT INTO "trial_user_attributes" VALUES(10,2,'fidelity','{}');
INSERT INTO "trial_user_attributes" VALUES(11,2,'metrics','{}');
INSERT INTO "trial_user_attributes" VALUES(12,2,'cost','{}');
INSERT INTO "trial_user_attributes" VALUES(13,2,'seconds','0.25');
INSERT INTO "trial_user_attributes" VALUES(14,2,'error','"nan: x"');
INSERT INTO "trial_user_attributes" VALUES(15,3,'name','""');
INSERT INTO "trial_user_attributes" VALUES(16,3,'in_space','true');
INSERT INTO "trial_user_attributes" VALUES(17,3,'fidelity','{}');
INSERT INTO "trial_user_attributes" VALUES(18,3,'metrics','{"fitness": 0.7}');
INSERT INTO "trial_user_attributes" VALUES(19,3,'cost','{}');
INSERT INTO "trial_user_attributes" VALUES(20,3,'seconds','2.0');
INSERT INTO "trial_user_attributes" VALUES(21,3,'error','""');
INSERT INTO "trial_user_attributes" VALUES(22,4,'name','""');
INSERT INTO "trial_user_attributes" VALUES(23,4,'in_space','true');
INSERT INTO "trial_user_attributes" VALUES(24,4,'fidelity','{}');
INSERT INTO "trial_user_attributes" VALUES(25,4,'metrics','{}');
INSERT INTO "trial_user_attributes" VALUES(26,4,'cost','{}');
INSERT INTO "trial_user_attributes" VALUES(27,4,'seconds','0.0');
INSERT INTO "trial_user_attributes" VALUES(28,4,'error','""');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,0.5,'FINITE');
INSERT INTO "trial_values" VALUES(2,3,0,0.7,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-30 14:04:49.763895','2026-11-30 14:04:49.971710');
INSERT INTO "trials" VALUES(2,1,1,'FAIL','2026-11-30 14:04:50.013708','2026-11-30 14:04:50.110219');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-30 14:04:50.149872','2026-11-30 14:04:50.230595');
INSERT INTO "trials" VALUES(4,3,1,'RUNNING','2026-11-30 14:04:50.381701',NULL);
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
