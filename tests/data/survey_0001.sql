BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE audit (
	id INTEGER NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	actor VARCHAR(64) NOT NULL, 
	action VARCHAR(64) NOT NULL, 
	detail TEXT NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (id)
);
CREATE TABLE background (
	answers_json TEXT NOT NULL, 
	id INTEGER NOT NULL, 
	session_id INTEGER NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_background PRIMARY KEY (id), 
	CONSTRAINT fk_background_session_id FOREIGN KEY(session_id) REFERENCES session (id)
);
INSERT INTO "background" VALUES('{}',1,1,'2026-11-21T12:25:11.224663Z');
CREATE TABLE consent (
	language VARCHAR(16) NOT NULL, 
	text_sha256 VARCHAR(64) NOT NULL, 
	id INTEGER NOT NULL, 
	session_id INTEGER NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_consent PRIMARY KEY (id), 
	CONSTRAINT fk_consent_session_id FOREIGN KEY(session_id) REFERENCES session (id), 
	CONSTRAINT uq_consent_session_id UNIQUE (session_id)
);
INSERT INTO "consent" VALUES('en','f1c48b2d4243a71cc107dc91d9cef0ce71fcd515201b45a3faff945835b9e18b',1,1,'2026-11-21T12:25:11.199033Z');
CREATE TABLE criterion (
	id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	title TEXT NOT NULL, 
	CONSTRAINT pk_criterion PRIMARY KEY (id), 
	CONSTRAINT fk_criterion_version_id FOREIGN KEY(version_id) REFERENCES version (id), 
	CONSTRAINT uq_criterion_id_version_id UNIQUE (id, version_id), 
	CONSTRAINT uq_criterion_version_id_key UNIQUE (version_id, "key")
);
INSERT INTO "criterion" VALUES(1,1,0,'content','content');
INSERT INTO "criterion" VALUES(2,1,1,'style','style');
CREATE TABLE design_slot (
	id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	plan_json TEXT NOT NULL, 
	CONSTRAINT pk_design_slot PRIMARY KEY (id), 
	CONSTRAINT ck_design_slot_number CHECK (number >= 0), 
	CONSTRAINT fk_design_slot_version_id FOREIGN KEY(version_id) REFERENCES version (id), 
	CONSTRAINT uq_design_slot_id_version_id UNIQUE (id, version_id), 
	CONSTRAINT uq_design_slot_version_id_number UNIQUE (version_id, number)
);
INSERT INTO "design_slot" VALUES(1,1,0,'{"trials": [{"piece": "one", "direction": "there", "order": ["red", "green", "blue"]}, {"piece": "two", "direction": "back", "order": ["blue", "green", "red"]}], "practice": {"piece": "warm-up", "direction": "there", "order": ["blue", "red", "green"]}}');
INSERT INTO "design_slot" VALUES(2,1,1,'{"trials": [{"piece": "one", "direction": "back", "order": ["red", "blue", "green"]}, {"piece": "two", "direction": "there", "order": ["green", "blue", "red"]}], "practice": {"piece": "warm-up", "direction": "there", "order": ["green", "blue", "red"]}}');
CREATE TABLE direction (
	id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	title TEXT NOT NULL, 
	CONSTRAINT pk_direction PRIMARY KEY (id), 
	CONSTRAINT fk_direction_version_id FOREIGN KEY(version_id) REFERENCES version (id), 
	CONSTRAINT uq_direction_id_version_id UNIQUE (id, version_id), 
	CONSTRAINT uq_direction_version_id_key UNIQUE (version_id, "key")
);
INSERT INTO "direction" VALUES(1,1,0,'there','There');
INSERT INTO "direction" VALUES(2,1,1,'back','Back');
CREATE TABLE draft (
	trial_id INTEGER NOT NULL, 
	criterion_id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	ranks_json TEXT NOT NULL, 
	sequence INTEGER NOT NULL, 
	updated_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_draft PRIMARY KEY (trial_id, criterion_id), 
	CONSTRAINT fk_draft_criterion_id_version_id FOREIGN KEY(criterion_id, version_id) REFERENCES criterion (id, version_id), 
	CONSTRAINT fk_draft_trial_id_version_id FOREIGN KEY(trial_id, version_id) REFERENCES trial (id, version_id)
);
CREATE TABLE exclusion (
	excluded BOOLEAN NOT NULL, 
	reason TEXT NOT NULL, 
	author VARCHAR(64) NOT NULL, 
	id INTEGER NOT NULL, 
	session_id INTEGER NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_exclusion PRIMARY KEY (id), 
	CONSTRAINT fk_exclusion_session_id FOREIGN KEY(session_id) REFERENCES session (id), 
	CONSTRAINT ck_exclusion_excluded CHECK (excluded IN (0, 1))
);
CREATE TABLE participant (
	id INTEGER NOT NULL, 
	public VARCHAR(34) NOT NULL, 
	study_id INTEGER NOT NULL, 
	external_hash VARCHAR(64) NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_participant PRIMARY KEY (id), 
	CONSTRAINT fk_participant_study_id FOREIGN KEY(study_id) REFERENCES study (id), 
	CONSTRAINT uq_participant_id_study_id UNIQUE (id, study_id), 
	CONSTRAINT uq_participant_public UNIQUE (public), 
	CONSTRAINT uq_participant_study_id_external_hash UNIQUE (study_id, external_hash)
);
INSERT INTO "participant" VALUES(1,'p_4c2c3a4a645c7aad',1,'d0650cfa8d594ebec86d2697cd3201347bc711efeeb3a207c215f7a37b156e1b','2026-11-21T12:25:11.148278Z');
CREATE TABLE piece (
	id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	title TEXT NOT NULL, 
	CONSTRAINT pk_piece PRIMARY KEY (id), 
	CONSTRAINT fk_piece_version_id FOREIGN KEY(version_id) REFERENCES version (id), 
	CONSTRAINT uq_piece_id_version_id UNIQUE (id, version_id), 
	CONSTRAINT uq_piece_version_id_key UNIQUE (version_id, "key")
);
INSERT INTO "piece" VALUES(1,1,0,'one','One');
INSERT INTO "piece" VALUES(2,1,1,'two','Two');
INSERT INTO "piece" VALUES(3,1,2,'warm-up','warm-up');
CREATE TABLE playback_event (
	trial_id INTEGER NOT NULL, 
	item_id INTEGER, 
	kind VARCHAR(8) NOT NULL, 
	at_ms DOUBLE NOT NULL, 
	position_s DOUBLE NOT NULL, 
	id INTEGER NOT NULL, 
	session_id INTEGER NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_playback_event PRIMARY KEY (id), 
	CONSTRAINT ck_playback_event_kind CHECK (kind IN ('play', 'pause', 'heard', 'loop', 'order')), 
	CONSTRAINT fk_playback_event_item_id_trial_id FOREIGN KEY(item_id, trial_id) REFERENCES trial_item (id, trial_id), 
	CONSTRAINT fk_playback_event_session_id FOREIGN KEY(session_id) REFERENCES session (id), 
	CONSTRAINT fk_playback_event_trial_id_session_id FOREIGN KEY(trial_id, session_id) REFERENCES trial (id, session_id)
);
INSERT INTO "playback_event" VALUES(1,NULL,'heard',10.5,0.2,1,1,'2026-11-21T12:25:11.264122Z');
INSERT INTO "playback_event" VALUES(1,1,'heard',10.5,0.2,2,1,'2026-11-21T12:25:11.264122Z');
INSERT INTO "playback_event" VALUES(1,2,'heard',10.5,0.2,3,1,'2026-11-21T12:25:11.264122Z');
INSERT INTO "playback_event" VALUES(1,3,'heard',10.5,0.2,4,1,'2026-11-21T12:25:11.264122Z');
INSERT INTO "playback_event" VALUES(2,NULL,'heard',10.5,0.2,5,1,'2026-11-21T12:25:11.308892Z');
INSERT INTO "playback_event" VALUES(2,4,'heard',10.5,0.2,6,1,'2026-11-21T12:25:11.308892Z');
INSERT INTO "playback_event" VALUES(2,5,'heard',10.5,0.2,7,1,'2026-11-21T12:25:11.308892Z');
INSERT INTO "playback_event" VALUES(2,6,'heard',10.5,0.2,8,1,'2026-11-21T12:25:11.308892Z');
CREATE TABLE rank_item (
	response_id INTEGER NOT NULL, 
	item_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	rank INTEGER NOT NULL, 
	CONSTRAINT pk_rank_item PRIMARY KEY (response_id, item_id), 
	CONSTRAINT ck_rank_item_rank CHECK (rank BETWEEN 1 AND 8 AND rank = CAST(rank AS INTEGER)), 
	CONSTRAINT fk_rank_item_item_id_trial_id FOREIGN KEY(item_id, trial_id) REFERENCES trial_item (id, trial_id), 
	CONSTRAINT fk_rank_item_response_id_trial_id FOREIGN KEY(response_id, trial_id) REFERENCES response (id, trial_id), 
	CONSTRAINT uq_rank_item_response_id_rank UNIQUE (response_id, rank)
);
INSERT INTO "rank_item" VALUES(1,1,1,1);
INSERT INTO "rank_item" VALUES(1,2,1,2);
INSERT INTO "rank_item" VALUES(1,3,1,3);
INSERT INTO "rank_item" VALUES(2,4,2,1);
INSERT INTO "rank_item" VALUES(2,5,2,2);
INSERT INTO "rank_item" VALUES(2,6,2,3);
INSERT INTO "rank_item" VALUES(3,4,2,1);
INSERT INTO "rank_item" VALUES(3,5,2,2);
INSERT INTO "rank_item" VALUES(3,6,2,3);
INSERT INTO "rank_item" VALUES(4,6,2,1);
INSERT INTO "rank_item" VALUES(4,5,2,2);
INSERT INTO "rank_item" VALUES(4,4,2,3);
CREATE TABLE response (
	id INTEGER NOT NULL, 
	session_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	criterion_id INTEGER NOT NULL, 
	revision INTEGER NOT NULL, 
	is_current BOOLEAN NOT NULL, 
	submission VARCHAR(32) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	receipt_json TEXT NOT NULL, 
	elapsed_ms INTEGER NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_response PRIMARY KEY (id), 
	CONSTRAINT ck_response_elapsed CHECK (elapsed_ms >= 0), 
	CONSTRAINT ck_response_revision CHECK (revision >= 1), 
	CONSTRAINT fk_response_criterion_id_version_id FOREIGN KEY(criterion_id, version_id) REFERENCES criterion (id, version_id), 
	CONSTRAINT fk_response_trial_id_session_id FOREIGN KEY(trial_id, session_id) REFERENCES trial (id, session_id), 
	CONSTRAINT fk_response_trial_id_version_id FOREIGN KEY(trial_id, version_id) REFERENCES trial (id, version_id), 
	CONSTRAINT uq_response_id_trial_id UNIQUE (id, trial_id), 
	CONSTRAINT uq_response_session_id_submission UNIQUE (session_id, submission), 
	CONSTRAINT uq_response_trial_id_criterion_id_revision UNIQUE (trial_id, criterion_id, revision), 
	CONSTRAINT ck_response_is_current CHECK (is_current IN (0, 1))
);
INSERT INTO "response" VALUES(1,1,1,1,1,1,1,'b751112c167a4ee5a59e652772d0558d','2a9642921931fd65f7496d4bb720a41b047ea412c813624d3d8cb7f6b8926171','{"submission": "b751112c167a4ee5a59e652772d0558d", "revision": 1, "generation": 4, "complete": false}',4000,'2026-11-21T12:25:11.290560Z');
INSERT INTO "response" VALUES(2,1,2,1,1,1,1,'271523bda2854164be2628eb4b2b2396','0782f4a3af32ea6d5d64fd667f7898c958fd564eb09716ec87bcba7c39f12b11','{"submission": "271523bda2854164be2628eb4b2b2396", "revision": 1, "generation": 5, "complete": false}',4000,'2026-11-21T12:25:11.329366Z');
INSERT INTO "response" VALUES(3,1,2,1,2,1,0,'e42f33f74c874b718cb2165bf67015bc','c445e065c4dc945677c3bc51f042ecede89aa3697504c8e3bdab7e47ce5a6e55','{"submission": "e42f33f74c874b718cb2165bf67015bc", "revision": 1, "generation": 6, "complete": false}',4000,'2026-11-21T12:25:11.348234Z');
INSERT INTO "response" VALUES(4,1,2,1,2,2,1,'f194b67c96e94f7e8dbea9380c6d005c','4cd2650d5b34a81780554e1ebdc3bd129b446503a8fe70928dc9f7147911b663','{"submission": "f194b67c96e94f7e8dbea9380c6d005c", "revision": 2, "generation": 7, "complete": false}',4000,'2026-11-21T12:25:11.363497Z');
CREATE TABLE screening (
	volume DOUBLE NOT NULL, 
	headphones VARCHAR(16) NOT NULL, 
	answers_json TEXT NOT NULL, 
	id INTEGER NOT NULL, 
	session_id INTEGER NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_screening PRIMARY KEY (id), 
	CONSTRAINT ck_screening_headphones CHECK (headphones IN ('pass', 'fail', 'unavailable', 'skipped')), 
	CONSTRAINT ck_screening_volume CHECK (volume BETWEEN 0 AND 1), 
	CONSTRAINT fk_screening_session_id FOREIGN KEY(session_id) REFERENCES session (id)
);
INSERT INTO "screening" VALUES(0.5,'skipped','[]',1,1,'2026-11-21T12:25:11.241365Z');
CREATE TABLE session (
	id INTEGER NOT NULL, 
	public VARCHAR(34) NOT NULL, 
	participant_id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	slot_id INTEGER, 
	holds_slot BOOLEAN NOT NULL, 
	lease_s DOUBLE NOT NULL, 
	leased_until VARCHAR(27) NOT NULL, 
	late BOOLEAN NOT NULL, 
	mode VARCHAR(8) NOT NULL, 
	status VARCHAR(8) NOT NULL, 
	token_hash VARCHAR(64) NOT NULL, 
	generation INTEGER NOT NULL, 
	language VARCHAR(16) NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	completed_at VARCHAR(27), 
	CONSTRAINT pk_session PRIMARY KEY (id), 
	CONSTRAINT ck_session_completed CHECK ((status = 'complete') = (completed_at IS NOT NULL)), 
	CONSTRAINT ck_session_generation CHECK (generation >= 0), 
	CONSTRAINT ck_session_holder CHECK (slot_id IS NOT NULL OR NOT holds_slot), 
	CONSTRAINT ck_session_mode CHECK (mode IN ('live', 'preview')), 
	CONSTRAINT ck_session_preview CHECK (mode = 'live' OR slot_id IS NULL), 
	CONSTRAINT ck_session_status CHECK (status IN ('open', 'complete')), 
	CONSTRAINT fk_session_participant_id_study_id FOREIGN KEY(participant_id, study_id) REFERENCES participant (id, study_id), 
	CONSTRAINT fk_session_slot_id_version_id FOREIGN KEY(slot_id, version_id) REFERENCES design_slot (id, version_id), 
	CONSTRAINT fk_session_version_id_study_id FOREIGN KEY(version_id, study_id) REFERENCES version (id, study_id), 
	CONSTRAINT uq_session_id_version_id UNIQUE (id, version_id), 
	CONSTRAINT uq_session_participant_id_mode UNIQUE (participant_id, mode), 
	CONSTRAINT uq_session_public UNIQUE (public), 
	CONSTRAINT uq_session_token_hash UNIQUE (token_hash), 
	CONSTRAINT ck_session_holds_slot CHECK (holds_slot IN (0, 1)), 
	CONSTRAINT ck_session_late CHECK (late IN (0, 1))
);
INSERT INTO "session" VALUES(1,'s_d14ec40be5971bff',1,1,1,1,1,1800.0,'2026-11-21T12:55:11.362900Z',0,'live','open','b5cb370ee5b5c66cf773bf8e3e4d30b34786665429cf07ad0ac4dfd93fae68e4',7,'en','2026-11-21T12:25:11.154867Z',NULL);
CREATE TABLE stimulus (
	id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	piece_id INTEGER NOT NULL, 
	direction_id INTEGER NOT NULL, 
	system_id INTEGER, 
	sha256 VARCHAR(64) NOT NULL, 
	media VARCHAR(32) NOT NULL, 
	duration_s DOUBLE NOT NULL, 
	CONSTRAINT pk_stimulus PRIMARY KEY (id), 
	CONSTRAINT ck_stimulus_duration CHECK (duration_s > 0), 
	CONSTRAINT fk_stimulus_direction_id_version_id FOREIGN KEY(direction_id, version_id) REFERENCES direction (id, version_id), 
	CONSTRAINT fk_stimulus_piece_id_version_id FOREIGN KEY(piece_id, version_id) REFERENCES piece (id, version_id), 
	CONSTRAINT fk_stimulus_system_id_version_id FOREIGN KEY(system_id, version_id) REFERENCES system (id, version_id), 
	CONSTRAINT fk_stimulus_version_id FOREIGN KEY(version_id) REFERENCES version (id), 
	CONSTRAINT uq_stimulus_id_version_id_piece_id_direction_id_system_id UNIQUE (id, version_id, piece_id, direction_id, system_id), 
	CONSTRAINT uq_stimulus_media UNIQUE (media), 
	CONSTRAINT uq_stimulus_version_id_piece_id_direction_id_system_id UNIQUE (version_id, piece_id, direction_id, system_id)
);
INSERT INTO "stimulus" VALUES(1,1,1,1,NULL,'0e3ac658e6f8fcb4c476268b963f53b7b5b55bb3cd54069863684378fabefb06','57b1fab690454486a8097a932a020f35',0.25);
INSERT INTO "stimulus" VALUES(2,1,1,1,1,'0fc7c271288b047409f3f64b6d4d7c28a934659f25547028a51aa35e659dc7fa','9b6d8c0c0c7343e988d88ac168ebe6a4',0.25);
INSERT INTO "stimulus" VALUES(3,1,1,1,2,'4498022a3e49069fad006617fe0490b20800fd5007b58507c190168ad83cec13','307c3bf9d5284e6aade2b11f137f4d8e',0.25);
INSERT INTO "stimulus" VALUES(4,1,1,1,3,'8e682953ab5070e8351f4056d4843d829d13a1fe79b3aa8ee0e691638cbb138d','a052c23edc664cfe97638e645a7e95fd',0.25);
INSERT INTO "stimulus" VALUES(5,1,1,2,NULL,'07b70c216a0d7b54b8e65146cdf9fd36547d686b3d9eead10a70779c82dc568d','c46f24ac73d74644b72379271f842da9',0.25);
INSERT INTO "stimulus" VALUES(6,1,1,2,1,'385aea5d9fe7cadb57e9671c34ed0926e6c9abcb734a88a4635aab2e5a72041b','bb93f21063a547b1a68c3ef9e11f89d3',0.25);
INSERT INTO "stimulus" VALUES(7,1,1,2,2,'cfe5058f65dc070fead30a1775b5ac7d29ba56d16addfd2f91d794ef0b64a1b2','0be265f9ad9d43abbc7af6bcaa00a27f',0.25);
INSERT INTO "stimulus" VALUES(8,1,1,2,3,'c857dd151a96ce538da86e5b770ede90d36f4af8fc71986ba4391e791302d35e','23726ee2dd964802904a26667067b89e',0.25);
INSERT INTO "stimulus" VALUES(9,1,2,1,NULL,'8126d8599d74479c41ae3f179c0089e2c13c62161e0b68f44cb17602e5cc37cd','459e8c922f63428b95cf5227bab1175c',0.25);
INSERT INTO "stimulus" VALUES(10,1,2,1,1,'879926b8d9695a5511da842f7c158eb8920040a4a1ffa10ad0e96b351536fd58','9fe8b80ea7544ee1b587bb41fea51e36',0.25);
INSERT INTO "stimulus" VALUES(11,1,2,1,2,'631269e03719163fd61f52df766f2654e1639244a5c1d7361ae994b27b8350c8','6932a6147e014fc6822ec9eecabbe76d',0.25);
INSERT INTO "stimulus" VALUES(12,1,2,1,3,'6fa1ce0f74d3f0806166cad7cc699d95a7c3abafa9ef9d1513eb714762588296','0653493c821a498c9c16b76e1e1a864d',0.25);
INSERT INTO "stimulus" VALUES(13,1,2,2,NULL,'85e87cfd4045a955875d9ca3fb83258e4216d609792d0d898329f5d21b72ef09','ffb6cdc5b08f4bb08d8635c40f51bec3',0.25);
INSERT INTO "stimulus" VALUES(14,1,2,2,1,'c7a6c1461866da82a87b83ddd3d3314b527b9041e22028ab00a92c995070c34e','774671c9d0eb46ee933c289f4f039390',0.25);
INSERT INTO "stimulus" VALUES(15,1,2,2,2,'e936a0bbac802324e18c8afd5b2bb65a6565665c7c8807be6580d5b580963765','73dac0b507e746e2b8da3b1e1c884eca',0.25);
INSERT INTO "stimulus" VALUES(16,1,2,2,3,'bd6d6055680787a9866e58e98b43f8fba6d6f28f53968a3e5f8ac8e5316e2221','56ef1b5f2c45421ea7657317247079c9',0.25);
INSERT INTO "stimulus" VALUES(17,1,3,1,NULL,'60979c07e42b192357ed8f07c4b83dc547ad831f93dfbc03eb08a5d820e3a701','074cc4a63797493ab3466101ae17fdbe',0.25);
INSERT INTO "stimulus" VALUES(18,1,3,1,1,'d05b91d5e81841c83129c5ec9ee8903b60db46f6ba903fd574d8b1bea04cda18','5bec1df1515b48fdbb3c966021b6a537',0.25);
INSERT INTO "stimulus" VALUES(19,1,3,1,2,'dedf0888a969c178b26e5278239e3c03ca4ce0819024b3d093dd6ad7e64c4219','38f55b9c51f148ec80e81abed7526cd6',0.25);
INSERT INTO "stimulus" VALUES(20,1,3,1,3,'eda03c7b2f75d0c5b78af674d77d4b02cb5f3965e8b2c5d5462ada7ae3bd79d7','47e883a949b445d38ad10492e8693b18',0.25);
CREATE TABLE study (
	id INTEGER NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	salt VARCHAR(32) NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_study PRIMARY KEY (id), 
	CONSTRAINT uq_study_name UNIQUE (name)
);
INSERT INTO "study" VALUES(1,'old','769c6cc877e883980422101c9f468897','2026-11-21T12:25:10.941260Z');
CREATE TABLE system (
	id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	title TEXT NOT NULL, 
	CONSTRAINT pk_system PRIMARY KEY (id), 
	CONSTRAINT ck_system_key CHECK (key <> 'gold'), 
	CONSTRAINT ck_system_position CHECK (position BETWEEN 0 AND 7), 
	CONSTRAINT fk_system_version_id FOREIGN KEY(version_id) REFERENCES version (id), 
	CONSTRAINT uq_system_id_version_id UNIQUE (id, version_id), 
	CONSTRAINT uq_system_version_id_key UNIQUE (version_id, "key"), 
	CONSTRAINT uq_system_version_id_position UNIQUE (version_id, position)
);
INSERT INTO "system" VALUES(1,1,0,'red','Red');
INSERT INTO "system" VALUES(2,1,1,'green','Green');
INSERT INTO "system" VALUES(3,1,2,'blue','Blue');
CREATE TABLE trial (
	id INTEGER NOT NULL, 
	public VARCHAR(34) NOT NULL, 
	session_id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	practice BOOLEAN NOT NULL, 
	piece_id INTEGER NOT NULL, 
	direction_id INTEGER NOT NULL, 
	CONSTRAINT pk_trial PRIMARY KEY (id), 
	CONSTRAINT ck_trial_number CHECK (number >= 0), 
	CONSTRAINT ck_trial_practice CHECK (practice = (number = 0)), 
	CONSTRAINT fk_trial_direction_id_version_id FOREIGN KEY(direction_id, version_id) REFERENCES direction (id, version_id), 
	CONSTRAINT fk_trial_piece_id_version_id FOREIGN KEY(piece_id, version_id) REFERENCES piece (id, version_id), 
	CONSTRAINT fk_trial_session_id_version_id FOREIGN KEY(session_id, version_id) REFERENCES session (id, version_id), 
	CONSTRAINT uq_trial_id_session_id UNIQUE (id, session_id), 
	CONSTRAINT uq_trial_id_version_id UNIQUE (id, version_id), 
	CONSTRAINT uq_trial_id_version_id_piece_id_direction_id UNIQUE (id, version_id, piece_id, direction_id), 
	CONSTRAINT uq_trial_public UNIQUE (public), 
	CONSTRAINT uq_trial_session_id_number UNIQUE (session_id, number), 
	CONSTRAINT ck_trial_practice CHECK (practice IN (0, 1))
);
INSERT INTO "trial" VALUES(1,'60e7174c35e9c743e0f48eb94c2ee599',1,1,0,1,3,1);
INSERT INTO "trial" VALUES(2,'ab3f8a759f9f46303244636981b00f79',1,1,1,0,1,1);
INSERT INTO "trial" VALUES(3,'45fb6cb74fa9c2ea9be44ec0669661c0',1,1,2,0,2,2);
CREATE TABLE trial_item (
	id INTEGER NOT NULL, 
	public VARCHAR(34) NOT NULL, 
	trial_id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	piece_id INTEGER NOT NULL, 
	direction_id INTEGER NOT NULL, 
	system_id INTEGER NOT NULL, 
	stimulus_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	CONSTRAINT pk_trial_item PRIMARY KEY (id), 
	CONSTRAINT ck_trial_item_position CHECK (position BETWEEN 0 AND 7), 
	CONSTRAINT fk_trial_item_stimulus_id_version_id_piece_id_direction_id_system_id FOREIGN KEY(stimulus_id, version_id, piece_id, direction_id, system_id) REFERENCES stimulus (id, version_id, piece_id, direction_id, system_id), 
	CONSTRAINT fk_trial_item_trial_id_version_id_piece_id_direction_id FOREIGN KEY(trial_id, version_id, piece_id, direction_id) REFERENCES trial (id, version_id, piece_id, direction_id), 
	CONSTRAINT uq_trial_item_id_trial_id UNIQUE (id, trial_id), 
	CONSTRAINT uq_trial_item_public UNIQUE (public), 
	CONSTRAINT uq_trial_item_trial_id_position UNIQUE (trial_id, position), 
	CONSTRAINT uq_trial_item_trial_id_system_id UNIQUE (trial_id, system_id)
);
INSERT INTO "trial_item" VALUES(1,'59da0a50c7cade58ae7d5cedfdeb2ae3',1,1,3,1,3,20,0);
INSERT INTO "trial_item" VALUES(2,'f49c5deba607f42ca646198275ad8205',1,1,3,1,1,18,1);
INSERT INTO "trial_item" VALUES(3,'5d65701b98810ae88597ea7570b75c5b',1,1,3,1,2,19,2);
INSERT INTO "trial_item" VALUES(4,'4e66893401c5f436b97c8e21561dcec5',2,1,1,1,1,2,0);
INSERT INTO "trial_item" VALUES(5,'b7cd5b60a850079b6bec85efa5ee218a',2,1,1,1,2,3,1);
INSERT INTO "trial_item" VALUES(6,'47e49083155f517443a9c454deea1e56',2,1,1,1,3,4,2);
INSERT INTO "trial_item" VALUES(7,'adb53b8f77f343357e8a88a36736238f',3,1,2,2,3,16,0);
INSERT INTO "trial_item" VALUES(8,'a0aefd247fa08feb08117fb1a11c928a',3,1,2,2,2,15,1);
INSERT INTO "trial_item" VALUES(9,'175c80b033d4925a0dbdeb50a0642c3b',3,1,2,2,1,14,2);
CREATE TABLE version (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	config_json TEXT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	created_at VARCHAR(27) NOT NULL, 
	CONSTRAINT pk_version PRIMARY KEY (id), 
	CONSTRAINT ck_version_number CHECK (number >= 1), 
	CONSTRAINT fk_version_study_id FOREIGN KEY(study_id) REFERENCES study (id), 
	CONSTRAINT uq_version_id_study_id UNIQUE (id, study_id), 
	CONSTRAINT uq_version_study_id_number UNIQUE (study_id, number), 
	CONSTRAINT uq_version_study_id_sha256 UNIQUE (study_id, sha256)
);
INSERT INTO "version" VALUES(1,1,1,'{"background":[],"completion_code":"DONE","completion_url":"","consent":{"en":"I take part of my own will."},"criteria":[{"best":{"en":"best"},"key":"content","question":{"en":"Which is best in content?"},"title":{"en":"content"},"worst":{"en":"worst"}},{"best":{"en":"best"},"key":"style","question":{"en":"Which is best in style?"},"title":{"en":"style"},"worst":{"en":"worst"}}],"directions":[{"key":"there","title":"There"},{"key":"back","title":"Back"}],"exclusions":[],"headphone_check":true,"languages":["en"],"lease_minutes":30.0,"name":"old","pieces":[{"key":"one","title":"One"},{"key":"two","title":"Two"}],"practice":{"direction":"there","piece":"warm-up"},"seed":7,"slots":2,"stimuli":[{"direction":"there","piece":"one","sha256":"0e3ac658e6f8fcb4c476268b963f53b7b5b55bb3cd54069863684378fabefb06","system":"gold"},{"direction":"there","piece":"one","sha256":"0fc7c271288b047409f3f64b6d4d7c28a934659f25547028a51aa35e659dc7fa","system":"red"},{"direction":"there","piece":"one","sha256":"4498022a3e49069fad006617fe0490b20800fd5007b58507c190168ad83cec13","system":"green"},{"direction":"there","piece":"one","sha256":"8e682953ab5070e8351f4056d4843d829d13a1fe79b3aa8ee0e691638cbb138d","system":"blue"},{"direction":"back","piece":"one","sha256":"07b70c216a0d7b54b8e65146cdf9fd36547d686b3d9eead10a70779c82dc568d","system":"gold"},{"direction":"back","piece":"one","sha256":"385aea5d9fe7cadb57e9671c34ed0926e6c9abcb734a88a4635aab2e5a72041b","system":"red"},{"direction":"back","piece":"one","sha256":"cfe5058f65dc070fead30a1775b5ac7d29ba56d16addfd2f91d794ef0b64a1b2","system":"green"},{"direction":"back","piece":"one","sha256":"c857dd151a96ce538da86e5b770ede90d36f4af8fc71986ba4391e791302d35e","system":"blue"},{"direction":"there","piece":"two","sha256":"8126d8599d74479c41ae3f179c0089e2c13c62161e0b68f44cb17602e5cc37cd","system":"gold"},{"direction":"there","piece":"two","sha256":"879926b8d9695a5511da842f7c158eb8920040a4a1ffa10ad0e96b351536fd58","system":"red"},{"direction":"there","piece":"two","sha256":"631269e03719163fd61f52df766f2654e1639244a5c1d7361ae994b27b8350c8","system":"green"},{"direction":"there","piece":"two","sha256":"6fa1ce0f74d3f0806166cad7cc699d95a7c3abafa9ef9d1513eb714762588296","system":"blue"},{"direction":"back","piece":"two","sha256":"85e87cfd4045a955875d9ca3fb83258e4216d609792d0d898329f5d21b72ef09","system":"gold"},{"direction":"back","piece":"two","sha256":"c7a6c1461866da82a87b83ddd3d3314b527b9041e22028ab00a92c995070c34e","system":"red"},{"direction":"back","piece":"two","sha256":"e936a0bbac802324e18c8afd5b2bb65a6565665c7c8807be6580d5b580963765","system":"green"},{"direction":"back","piece":"two","sha256":"bd6d6055680787a9866e58e98b43f8fba6d6f28f53968a3e5f8ac8e5316e2221","system":"blue"},{"direction":"there","piece":"warm-up","sha256":"60979c07e42b192357ed8f07c4b83dc547ad831f93dfbc03eb08a5d820e3a701","system":"gold"},{"direction":"there","piece":"warm-up","sha256":"d05b91d5e81841c83129c5ec9ee8903b60db46f6ba903fd574d8b1bea04cda18","system":"red"},{"direction":"there","piece":"warm-up","sha256":"dedf0888a969c178b26e5278239e3c03ca4ce0819024b3d093dd6ad7e64c4219","system":"green"},{"direction":"there","piece":"warm-up","sha256":"eda03c7b2f75d0c5b78af674d77d4b02cb5f3965e8b2c5d5462ada7ae3bd79d7","system":"blue"}],"strings":{"next":{"en":"On"}},"systems":[{"key":"red","title":"Red"},{"key":"green","title":"Green"},{"key":"blue","title":"Blue"}],"thanks":{"en":"Thank you."},"title":{"en":"A small test"},"trials_per_participant":2,"welcome":{"en":"Welcome."}}','2cfd3e7b6777bb929494048a315deb2c6daa8ae1fec81367e54ec71017e46e94','2026-11-21T12:25:10.955720Z');
CREATE INDEX ix_session_version_id ON session (version_id);
CREATE UNIQUE INDEX uq_session_holder ON session (slot_id) WHERE holds_slot;
CREATE UNIQUE INDEX uq_stimulus_gold ON stimulus (version_id, piece_id, direction_id) WHERE system_id IS NULL;
CREATE INDEX ix_background_session_id ON background (session_id);
CREATE INDEX ix_consent_session_id ON consent (session_id);
CREATE INDEX ix_exclusion_session_id ON exclusion (session_id);
CREATE INDEX ix_screening_session_id ON screening (session_id);
CREATE UNIQUE INDEX uq_response_current ON response (trial_id, criterion_id) WHERE is_current;
CREATE INDEX ix_playback_event_session_id ON playback_event (session_id);
CREATE INDEX ix_playback_event_trial ON playback_event (trial_id, kind);
COMMIT;
