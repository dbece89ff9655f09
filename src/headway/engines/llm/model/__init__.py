"""The model side: loads a checkpoint and runs ragged steps over paged memory."""
