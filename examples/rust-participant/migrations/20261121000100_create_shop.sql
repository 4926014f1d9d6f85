create table stock (
    item text primary key,
    available bigint not null,
    constraint stock_available check (available >= 0)
);
create table wallet (
    customer text primary key,
    balance_minor bigint not null,
    constraint wallet_balance check (balance_minor >= 0)
);
create table parcel (
    order_id text primary key,
    customer text not null
);
insert into stock (item, available) values ('kettle', 10);
insert into wallet (customer, balance_minor) values ('ada', 10000), ('bob', 100);
