"""The run directory beside an output: what the run is, who is at work, what is done.

OUTPUT.run/
  run.json          what the run computes, its stages and versions     (`record`)
  lock              who runs it: host, pid, start, heartbeat            (`lock`)
  connection.json   where the scheduler listens, for its owner only     (`connection`)
  ready.json        how many blocks of each stage are ready just now    (`connection`)
  ledger/STAGE/     completion ledger                                   (`ledger`)
  tasks/STAGE/      what stages leave for other stages only
  workers/          what each worker is doing just now            (`worker_states`)
  logs/             scheduler.log, one log per worker
  status.html       how far it is, for people; written anew now and then
"""
