#!/bin/bash
# A refresh every week on a cluster; each job submits the one of the next week. Put this file beside config.toml, with
# inputs.commits_from in it, and submit it once from there: sbatch slurm.sh. The nodes must reach the server.
# Where the cluster has scrontab, use the line of `crontab` instead, after a line `#SCRON --time=08:00:00`.
#SBATCH --job-name=perfharvest
#SBATCH --time=08:00:00
#SBATCH --cpus-per-task=2
#SBATCH --mem=2G
#SBATCH --output=refresh-%j.log
#SBATCH --mail-type=FAIL
# Never two at once.
#SBATCH --dependency=singleton
# Two minutes before the end of its time, the job stops the refresh and submits another job that goes on with it.
#SBATCH --signal=B:TERM@120

cd "$SLURM_SUBMIT_DIR" || exit

# First, so that a job that is killed does not end the series.
if [ "${1:-}" != no-next ]; then
    sbatch --begin=now+7days slurm.sh
fi

~/.cargo/bin/perfharvest refresh &
refresh=$!
trap 'kill -TERM "$refresh"' TERM
wait "$refresh"
code=$?
# The signal ends the first wait. The second one gets the exit code of the refresh.
if [ "$code" -gt 128 ]; then
    wait "$refresh"
    code=$?
fi

# 130: interrupted. 5: the server cannot be reached.
case $code in
    130) sbatch slurm.sh no-next && exit 0 ;;
    5) sbatch --begin=now+1hour slurm.sh no-next && exit 0 ;;
esac
exit "$code"
