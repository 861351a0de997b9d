#!/bin/bash
# One run as a SLURM job that may be stopped at any time and goes on by itself:
#
#     sbatch experiments/slurm.sh --config experiments/best.yaml --data-dir photos
#
# Adapt the lines below to your cluster. Submit from the folder that logs/ is to lie in, with the
# virtual environment activated.

#SBATCH --job-name=vehicles
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2      # one process a GPU
#SBATCH --gpus-per-node=2
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@180        # so many seconds before the time is up
#SBATCH --requeue                # also after a preemption or the failure of a node
#SBATCH --open-mode=append

name=slurm-$SLURM_JOB_ID         # a requeued job keeps its number
flags=("$@" --name "$name" --log-dir logs)  # where a requeued job looks for it
for config in logs/"$name"/*/config.yaml; do
    if [ -f "$config" ]; then
        flags=(--resume "$(dirname "$config")")
    fi
done

srun --kill-on-bad-exit=1 python -m vehicle_lightning.fit "${flags[@]}" \
    --accelerator gpu --strategy ddp \
    --devices "$SLURM_NTASKS_PER_NODE" --num-nodes "$SLURM_NNODES"
code=$?

# 130: stopped in good order, with something left to train.
if [ $code -eq 130 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
