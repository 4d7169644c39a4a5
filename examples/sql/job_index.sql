-- The signatures that each job measured, as in sigs_by_job_id.jsonl. Data of deleted jobs are left out.
SELECT job_id, ARRAY_SORT(ARRAY_AGG(DISTINCT signature_id)) AS signature_ids
FROM data
WHERE job_id IS NOT NULL
GROUP BY job_id
ORDER BY job_id
