-- The promise of this schema: what is a cache of something else equals it. Each row is a difference; none is the promise kept.
-- Right at any moment, since everything compared is changed in one transaction.
create function drift() returns table (what text, subject text, expected bigint, found bigint)
language sql stable as $$
    select 'refunded of a payment is the sum of its booked refunds', p.payment_no,
           coalesce((select sum(r.amount) from refunds r where r.payment_id = p.id and r.booked), 0)::bigint,
           p.refunded_amount
    from payments p
    where p.refunded_amount <> coalesce((select sum(r.amount) from refunds r where r.payment_id = p.id and r.booked), 0)
    union all
    select 'refunding of a payment is its open refund', p.payment_no,
           coalesce((select sum(r.amount) from refunds r where r.payment_id = p.id and not r.booked
                     and r.status in ('PENDING', 'PROCESSING', 'ABNORMAL', 'SUCCEEDED')), 0)::bigint,
           p.refunding_amount
    from payments p
    where p.status = 'REFUNDING'
      and p.refunding_amount <> coalesce((select sum(r.amount) from refunds r where r.payment_id = p.id and not r.booked), 0)
      -- A refund that has failed is taken off its payment by the next step of its saga.
      and not exists (select 1 from refunds r where r.payment_id = p.id and not r.booked
                      and r.status in ('CLOSED', 'FAILED'))
    union all
    select 'an order that is paid has one payment', o.order_number, 1,
           (select count(*) from payments p where p.order_id = o.id and not p.late
            and p.status in ('SUCCESS', 'REFUNDING', 'REFUNDED'))
    from orders o
    where o.status in ('PAID', 'COMPLETED', 'REFUNDED')
      and 1 <> (select count(*) from payments p where p.order_id = o.id and not p.late
                and p.status in ('SUCCESS', 'REFUNDING', 'REFUNDED'))
    union all
    select 'an order that is not paid has none', o.order_number, 0,
           (select count(*) from payments p where p.order_id = o.id and not p.late
            and p.status in ('SUCCESS', 'REFUNDING', 'REFUNDED'))
    from orders o
    where o.status in ('PENDING', 'CANCELLED')
      and exists (select 1 from payments p where p.order_id = o.id and not p.late
                  and p.status in ('SUCCESS', 'REFUNDING', 'REFUNDED'))
    union all
    select 'what is open is asked for', p.payment_no, 1, 0
    from payments p
    where p.status = 'PENDING' and (p.payment_url is not null or p.closing is not null)
      and not exists (select 1 from provider_checks c where c.subject = 'payment' and c.subject_id = p.id)
    union all
    select 'what is open is asked for', r.refund_no, 1, 0
    from refunds r
    where r.status in ('PROCESSING', 'ABNORMAL')
      and not exists (select 1 from provider_checks c where c.subject = 'refund' and c.subject_id = r.id)
    union all
    select 'what is open is asked for', w.withdrawal_no, 1, 0
    from withdrawals w
    where w.status = 'PROCESSING'
      and not exists (select 1 from provider_checks c where c.subject = 'withdrawal' and c.subject_id = w.id)
    union all
    select 'commission is the sum of its entries', a.user_id::text, coalesce(e.total, 0)::bigint, a.parts
    from (select user_id, unnest(array['earned', 'available', 'frozen', 'withdrawn']) as part,
                 unnest(array[earned, available, frozen, withdrawn]) as parts from commission_accounts) a
    left join (select user_id, unnest(array['earned', 'available', 'frozen', 'withdrawn']) as part,
                      unnest(array[sum(earned_delta), sum(available_delta), sum(frozen_delta), sum(withdrawn_delta)]) as total
               from commission_entries group by user_id) e on e.user_id = a.user_id and e.part = a.part
    where a.parts <> coalesce(e.total, 0)
    union all
    select 'a membership ends with its last period', m.user_id || ' ' || m.tier,
           coalesce(extract(epoch from (select max(ends_at) from membership_periods p
                    where p.user_id = m.user_id and p.tier = m.tier)), 0)::bigint,
           extract(epoch from m.ends_at)::bigint
    from memberships m
    where m.ends_at is distinct from
          (select max(ends_at) from membership_periods p where p.user_id = m.user_id and p.tier = m.tier)
$$;
