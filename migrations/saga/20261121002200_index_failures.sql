-- For lists of what is failing: whether a saga has failed at all is asked of every unfinished one. Success writes nothing to it.
create index event_failed on saga.event (saga_id) where kind = 'failed';
