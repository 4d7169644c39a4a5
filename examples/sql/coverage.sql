-- The signatures that ran on each revision, as in perf_jobs_per_revision_details.jsonl with the corrected semantics.
-- A datum counts for its revision if its job was submitted at most ten minutes after the push, or if the job is deleted.
-- Commits of the window without such data have total_jobs 0 and signature_ids null.
WITH accepted AS (
    SELECT DISTINCT revision, signature_id
    FROM data
    WHERE submit_time IS NULL
       OR submit_time BETWEEN push_timestamp AND push_timestamp + INTERVAL 600 SECOND
)
SELECT
    revisions.revision AS revision,
    revisions.commit_date AS commit_date,
    COUNT(accepted.signature_id) AS total_jobs,
    CASE WHEN COUNT(accepted.signature_id) > 0 THEN ARRAY_SORT(ARRAY_AGG(accepted.signature_id)) END AS signature_ids
FROM revisions
LEFT JOIN accepted ON accepted.revision = revisions.revision
WHERE revisions.commit_date IS NOT NULL
GROUP BY revisions.revision, revisions.commit_date
ORDER BY commit_date, revision
