-- An outage that is a little shorter than a lease ends the leases of some and not those of others: whoever kept one must not
-- take the others over before they could renew.
comment on column saga.replica.leased_since is
    'Since when the lease has been renewed without a gap of half its length.';
