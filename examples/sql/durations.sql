-- How long the jobs of a signature take, in minutes, as in job_durations.csv with the corrected semantics, not rounded.
-- The duration is the mean over the jobs of the first, the middle and the last datum whose job still exists; a job in two
-- of these positions counts twice. A job has no duration if it has no start or end, or ends before it starts; a job that
-- is not in `jobs` gives no sample. sig_group_id is null if the signature is in no group; group by it for group means.
WITH placed AS (
    SELECT
        signature_id,
        job_id,
        ROW_NUMBER() OVER (PARTITION BY signature_id ORDER BY push_timestamp, push_id, job_id, id) - 1 AS place,
        COUNT(*) OVER (PARTITION BY signature_id) AS num_data
    FROM data
    WHERE job_id IS NOT NULL
),
spans AS (
    SELECT id AS job_id, end_timestamp - start_timestamp AS span
    FROM jobs
    WHERE end_timestamp >= start_timestamp
),
minutes_of AS (
    SELECT
        job_id,
        CAST(
            EXTRACT(DAY FROM span) * 86400
            + EXTRACT(HOUR FROM span) * 3600
            + EXTRACT(MINUTE FROM span) * 60
            + EXTRACT(SECOND FROM span) AS DOUBLE
        ) / 60 AS minutes
    FROM spans
),
samples AS (
    SELECT
        signature_id,
        MAX(CASE WHEN place = 0 THEN minutes END) AS first_minutes,
        MAX(CASE WHEN place = FLOOR(num_data / 2) THEN minutes END) AS middle_minutes,
        MAX(CASE WHEN place = num_data - 1 THEN minutes END) AS last_minutes
    FROM placed
    JOIN minutes_of ON minutes_of.job_id = placed.job_id
    GROUP BY signature_id
)
SELECT
    samples.signature_id AS signature_id,
    sig_groups.sig_group_id AS sig_group_id,
    -- Adding from left to right gives the same bits in every engine.
    (COALESCE(first_minutes, 0) + COALESCE(middle_minutes, 0) + COALESCE(last_minutes, 0))
    / (CASE WHEN first_minutes IS NULL THEN 0 ELSE 1 END
       + CASE WHEN middle_minutes IS NULL THEN 0 ELSE 1 END
       + CASE WHEN last_minutes IS NULL THEN 0 ELSE 1 END) AS duration_minutes
FROM samples
LEFT JOIN sig_groups ON sig_groups.signature_id = samples.signature_id
WHERE first_minutes IS NOT NULL OR middle_minutes IS NOT NULL OR last_minutes IS NOT NULL
ORDER BY signature_id
