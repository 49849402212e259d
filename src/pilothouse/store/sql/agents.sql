-- name: add_agent_run
-- Keeps what an agent did for a proposal.
INSERT INTO agent_runs (product, campaign, proposal, about, at, charged_usd, record)
VALUES (:product, :campaign, :proposal, :about, :at, :charged_usd, :record);

-- name: agent_runs_of_campaign
-- Lists the runs of agents, oldest first, those for proposals of trials from a least one on.
SELECT * FROM agent_runs
WHERE product = :product AND campaign = :name
    AND proposal IN (SELECT id FROM proposals WHERE product = :product AND campaign = :name AND number >= :least)
ORDER BY position;

-- name: spent_on_agents
-- Sums what the runs of agents have cost, and counts those of which it is not known.
SELECT COALESCE(SUM(charged_usd), 0.0) AS usd, COUNT(*) - COUNT(charged_usd) AS unknown
FROM agent_runs WHERE product = :product AND campaign = :name;

-- name: add_agent_incident
-- Keeps what an agent was refused.
INSERT INTO agent_incidents (product, campaign, proposal, about, at, diagnosis, evidence, occurrences, response)
VALUES (:product, :campaign, :proposal, :about, :at, :diagnosis, :evidence, :occurrences, :response);

-- name: agent_incidents_of_campaign
-- Lists what agents were refused, oldest first.
SELECT * FROM agent_incidents WHERE product = :product AND campaign = :name ORDER BY position;
