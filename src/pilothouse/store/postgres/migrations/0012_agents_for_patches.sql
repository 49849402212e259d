-- An agent may be asked for more than a proposal: for a patch after the run of one has failed. `about` says for what.

ALTER TABLE agent_runs ADD COLUMN about text COLLATE "C" NOT NULL DEFAULT '';

ALTER TABLE agent_runs DROP CONSTRAINT agent_runs_product_proposal_key;

ALTER TABLE agent_runs ADD CONSTRAINT agent_runs_product_proposal_about_key UNIQUE (product, proposal, about);

ALTER TABLE agent_incidents ADD COLUMN about text COLLATE "C" NOT NULL DEFAULT '';

ALTER TABLE agent_incidents DROP CONSTRAINT agent_incidents_product_proposal_diagnosis_key;

ALTER TABLE agent_incidents ADD CONSTRAINT agent_incidents_product_proposal_about_diagnosis_key
UNIQUE (product, proposal, about, diagnosis);
