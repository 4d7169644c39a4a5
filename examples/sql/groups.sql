-- Signatures that exactly the same jobs measured, as in sig_groups.jsonl and the table sig_groups.
WITH jobs_of AS (
    SELECT signature_id, ARRAY_SORT(ARRAY_AGG(DISTINCT job_id)) AS job_ids
    FROM data
    WHERE job_id IS NOT NULL
    GROUP BY signature_id
),
members AS (
    SELECT ARRAY_SORT(ARRAY_AGG(signature_id)) AS signatures, COUNT(*) AS size, MIN(signature_id) AS smallest
    FROM jobs_of
    GROUP BY job_ids
)
SELECT ROW_NUMBER() OVER (ORDER BY size DESC, smallest) - 1 AS sig_group_id, signatures
FROM members
ORDER BY sig_group_id
