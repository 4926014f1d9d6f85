comment on table saga.inbox is
    'Events that were applied here: one that comes again is not applied again. Rows are deleted after events.keep_inbox.';
